/** Paged reads. Directories and removed files go on behind the last row, by their order. Everything else is a walk that this
 *  client remembers between its pages: where it is, and the rows that did not fit the page. */

import { Fault } from '../../../base/fault.ts'
import type { Ino } from '../../../base/ino.ts'
import type { Cursor, Page, ScanKind, Scans } from '../../engine.ts'
import type { Change } from '../../facts.ts'
import type { DeadLengths } from './dead-lengths.ts'
import { Directories, type Gather } from './directories.ts'
import { type Keys, parsePair } from './keys.ts'
import type { Link } from './link.ts'
import { Lists } from './lists.ts'
import { numberOf, pairsOf, textOf } from './values.ts'

type Row<K extends ScanKind> = Scans[K]['row']

export interface ScannerOptions {
  readonly link: Link
  readonly keys: Keys
  readonly dead: DeadLengths
  readonly gather: Gather
}

/** A walk that has begun. */
interface Walk<T> {
  readonly rows: AsyncGenerator<readonly T[]>
  /** that came with the last step and did not fit */
  waiting: readonly T[]
}

/** walks that are remembered; more are only begun where somebody gives up half way again and again */
const MAX_WALKS = 64

export class Scanner {
  readonly #o: ScannerOptions
  readonly #directories: Directories
  readonly #lists: Lists
  readonly #walks = new Map<string, Walk<unknown>>()
  #walkCount = 0

  constructor(options: ScannerOptions) {
    this.#o = options
    this.#directories = new Directories(options.gather, options.keys)
    this.#lists = new Lists(options.link, options.keys, options.dead)
  }

  async page<K extends ScanKind>(
    kind: K,
    args: Scans[K]['args'],
    cursor: Cursor | null,
    limit: number,
  ): Promise<Page<Row<K>>> {
    const after = cursor === null ? null : String(cursor)
    if (kind === 'entries') {
      const { parent, attrs } = args as Scans['entries']['args']
      return (await this.#directories.page(parent, attrs, after, limit)) as Page<Row<K>>
    }
    if (kind === 'deadFiles') {
      const { before } = args as Scans['deadFiles']['args']
      return (await this.#deadFiles(before, after, limit)) as Page<Row<K>>
    }
    return await this.#pageOfWalk(kind, args, after, limit)
  }

  applied(changes: readonly Change[]): void {
    this.#directories.applied(changes)
  }

  close(): void {
    this.#directories.close()
  }

  /** Indexes of all chunks that a file has, ascending, by a walk over all keys. */
  chunkIndexes(ino: Ino): Promise<number[]> {
    return this.#lists.chunkIndexes(ino)
  }

  async #pageOfWalk<K extends ScanKind>(
    kind: K,
    args: Scans[K]['args'],
    cursor: string | null,
    limit: number,
  ): Promise<Page<Row<K>>> {
    const id = cursor ?? String(++this.#walkCount)
    const known = this.#walks.get(id) as Walk<Row<K>> | undefined
    if (known === undefined && cursor !== null) {
      throw new Fault(`list ${kind}: this list is forgotten: it failed, or too many were begun and not finished`)
    }
    const walk = known ?? { rows: this.#lists.rowsOf(kind, args), waiting: [] }
    this.#walks.delete(id)
    const page = [...walk.waiting]
    let isOver = false
    while (page.length <= limit && !isOver) {
      const step = await walk.rows.next()
      if (step.done) isOver = true
      else page.push(...step.value)
    }
    if (isOver && page.length <= limit) return { rows: page, next: null }
    walk.waiting = page.slice(limit)
    this.#walks.set(id, walk as Walk<unknown>)
    for (const oldest of this.#walks.keys()) {
      if (this.#walks.size <= MAX_WALKS) break
      this.#walks.delete(oldest)
    }
    return { rows: page.slice(0, limit), next: id }
  }

  /** By time and name: what is removed meanwhile moves nothing. */
  async #deadFiles(before: number, after: string | null, limit: number): Promise<Page<Row<'deadFiles'>>> {
    const [lastAt, lastMember] = after === null ? [Number.NEGATIVE_INFINITY, ''] : split(after)
    const rows: Row<'deadFiles'>[] = []
    let [last, offset] = ['', 0]
    for (;;) {
      const from = lastAt === Number.NEGATIVE_INFINITY ? '-inf' : String(lastAt)
      const args = [from, `(${before}`, 'WITHSCORES', 'LIMIT', String(offset), String(limit + 1)]
      const reply = await this.#o.link.request('ZRANGEBYSCORE', [this.#o.keys.deadFiles, ...args], {
        doing: 'list removed files',
        again: true,
      })
      const found = pairsOf(reply)
      for (const [member, score] of found) {
        const [name, at] = [textOf(member), numberOf(score)]
        if (at === lastAt && name <= lastMember) continue
        if (rows.length === limit) return { rows, next: last }
        const pair = parsePair(name, ':')
        if (pair === null) continue
        this.#o.dead.note(pair.first, pair.second)
        rows.push({ ino: pair.first, length: pair.second, at })
        last = `${at} ${name}`
      }
      if (found.length <= limit) return { rows, next: null }
      offset += found.length
    }
  }
}

function split(cursor: string): [at: number, member: string] {
  const space = cursor.indexOf(' ')
  return [Number(cursor.slice(0, space)), cursor.slice(space + 1)]
}
