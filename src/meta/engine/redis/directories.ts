/** Directories in pages. A hash has no order and no place to go on from that survives its resizing, so the names of a directory
 *  are taken in at once (10,000 a round trip), sorted, and handed out by name: the cursor is the last name, none that existed
 *  throughout is lost and none comes twice, whatever others do meanwhile.
 *
 *  The first page of a directory costs one round trip, attributes included, unless it is very large: the server cannot know
 *  which names come first, so it sends the records of all. Of a directory with more pages the names are kept for a while, and
 *  each further page with attributes asks for its entries anew: they are as of that moment. If the names are gone when a listing
 *  goes on, they are taken in again. */

import { type Name, nameFromBytes, nameToBytes } from '../../../base/bytes.ts'
import type { Ino } from '../../../base/ino.ts'
import type { DirEntry, Page } from '../../engine.ts'
import type { Change } from '../../facts.ts'
import type { Instruction, Reply } from './instruction.ts'
import type { Keys } from './keys.ts'
import { attrOf } from './reads.ts'
import { MAX_ARGS } from './scripts.ts'
import { buffersOf, bytesOf, decodeEntry, listOf, textOf } from './values.ts'

const ENTRIES_A_TRIP = 10_000
/** Records sent along with the names, for a first page of which this many times as many would do; and at most. */
const RECORDS_A_ROW = 8
const MAX_RECORDS = 4096
/** names kept of all directories together; the newest directory stays whatever its size */
const MAX_KEPT = 1_000_000
const KEPT_MS = 30_000

export type Gather = (instructions: readonly Instruction[]) => Promise<readonly Reply[]>

interface Found {
  readonly ino: Ino
  readonly type: number
}
interface Names {
  readonly sorted: readonly Name[]
  /** without those that this client has removed since */
  readonly entries: Map<Name, Found>
  readonly timer: NodeJS.Timeout
}

export class Directories {
  readonly #gather: Gather
  readonly #keys: Keys
  /** oldest first */
  readonly #kept = new Map<Ino, Names>()
  #keptCount = 0

  constructor(gather: Gather, keys: Keys) {
    this.#gather = gather
    this.#keys = keys
  }

  async page(parent: Ino, attrs: boolean, after: Name | null, limit: number): Promise<Page<DirEntry>> {
    let names = after === null ? undefined : this.#kept.get(parent)
    if (names === undefined) {
      const records = attrs && after === null ? Math.max(limit, Math.min(limit * RECORDS_A_ROW, MAX_RECORDS)) : 0
      const { entries, rows } = await this.#takeIn(parent, records)
      if (rows !== null && rows.length <= limit) return { rows, next: null }
      names = this.#keep(parent, entries)
      if (rows !== null) return { rows: rows.slice(0, limit), next: rows[limit - 1]!.name }
    }
    const from = after === null ? 0 : firstBeyond(names.sorted, after)
    const page = names.sorted.slice(from, from + limit)
    const next = from + limit < names.sorted.length ? page[page.length - 1]! : null
    if (next === null) this.#forget(parent)
    const entries = names.entries
    const there = page.filter(name => entries.has(name))
    const rows = attrs ? await this.#withAttrs(parent, there) : there.map(name => rowOf(name, entries.get(name)!))
    return { rows, next }
  }

  /** What this client removes must not be listed any more. */
  applied(changes: readonly Change[]): void {
    if (this.#kept.size === 0) return
    for (const change of changes) {
      if (change.kind === 'delDentry') this.#kept.get(change.parent)?.entries.delete(change.name)
      else if (change.kind === 'setDentry') {
        const { name, ino, type } = change
        const entries = this.#kept.get(change.parent)?.entries
        if (entries?.has(name)) entries.set(name, { ino, type })
      }
    }
  }

  close(): void {
    for (const parent of [...this.#kept.keys()]) this.#forget(parent)
  }

  /** All entries; and all rows at once, with attributes, where there are no more than `records`. */
  async #takeIn(
    parent: Ino,
    records: number,
  ): Promise<{ readonly entries: Map<Name, Found>; readonly rows: readonly DirEntry[] | null }> {
    const key = this.#keys.entries(parent)
    const entries = new Map<Name, Found>()
    const first: Instruction = {
      op: 'e',
      keys: [key],
      args: [this.#keys.prefix, String(ENTRIES_A_TRIP), String(records)],
    }
    const [reply] = await this.#gather([first])
    const [cursor, pairs, found] = listOf(reply)
    addPairs(entries, buffersOf(pairs))
    if (found !== null && found !== undefined) return { entries, rows: rowsOf(buffersOf(pairs), listOf(found)) }
    for (let at = textOf(cursor as Buffer); at !== '0'; ) {
      const args = ['HSCAN', at, 'COUNT', String(ENTRIES_A_TRIP)]
      const [next] = await this.#gather([{ op: 'q', keys: [key], args: [String(args.length - 1), ...args] }])
      const [nextCursor, more] = listOf(next)
      addPairs(entries, buffersOf(more))
      at = textOf(nextCursor as Buffer)
    }
    return { entries, rows: null }
  }

  #keep(parent: Ino, entries: Map<Name, Found>): Names {
    this.#forget(parent)
    const timer = setTimeout(() => this.#forget(parent), KEPT_MS)
    timer.unref()
    const names = { sorted: [...entries.keys()].sort(), entries, timer }
    this.#kept.set(parent, names)
    this.#keptCount += names.sorted.length
    for (const oldest of this.#kept.keys()) {
      if (this.#keptCount <= MAX_KEPT || oldest === parent) break
      this.#forget(oldest)
    }
    return names
  }

  #forget(parent: Ino): void {
    const names = this.#kept.get(parent)
    if (names === undefined) return
    clearTimeout(names.timer)
    this.#kept.delete(parent)
    this.#keptCount -= names.sorted.length
  }

  /** As they are now; those that are gone are left out. */
  async #withAttrs(parent: Ino, names: readonly Name[]): Promise<DirEntry[]> {
    const instructions: Instruction[] = []
    for (let at = 0; at < names.length; at += MAX_ARGS) {
      const part = names.slice(at, at + MAX_ARGS).map(nameToBytes)
      const args = [String(part.length), this.#keys.prefix, ...part]
      instructions.push({ op: 'm', keys: [this.#keys.entries(parent)], args })
    }
    if (instructions.length === 0) return []
    const replies = (await this.#gather(instructions)).flatMap(listOf)
    const rows: DirEntry[] = []
    for (const [i, name] of names.entries()) {
      const entry = bytesOf(replies[2 * i])
      if (entry === null) continue
      const { ino, type } = decodeEntry(entry)
      rows.push({ name, ino, type, attr: attrOf(ino, replies[2 * i + 1]) })
    }
    return rows
  }
}

const rowOf = (name: Name, { ino, type }: Found): DirEntry => ({ name, ino, type, attr: null })

function addPairs(entries: Map<Name, Found>, pairs: readonly Buffer[]): void {
  for (let i = 0; i + 1 < pairs.length; i += 2) entries.set(nameFromBytes(pairs[i]!), decodeEntry(pairs[i + 1]!))
}

function rowsOf(pairs: readonly Buffer[], records: readonly Reply[]): DirEntry[] {
  return records
    .map((record, i): DirEntry => {
      const { ino, type } = decodeEntry(pairs[2 * i + 1]!)
      return { name: nameFromBytes(pairs[2 * i]!), ino, type, attr: attrOf(ino, record) }
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
}

function firstBeyond(names: readonly Name[], name: Name): number {
  let low = 0
  let high = names.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (names[middle]! <= name) low = middle + 1
    else high = middle
  }
  return low
}
