/** Paged reads. Three ways, by how many rows there may be:
 *
 *  - directories and removed files go on behind the last row, by their order (directories.ts, `deadFiles`);
 *  - what is walked by SCAN and HSCAN (millions) is a walk that this client remembers: its place, rows that did not fit the page,
 *    and which numbers came by, since Redis may list one twice;
 *  - what a session has (hundreds) is read at once, and handed out in pages the same way. */

import { Fault } from '../../../base/fault.ts'
import { type Ino, inoFromString } from '../../../base/ino.ts'
import type { Cursor, Page, ScanKind, Scans } from '../../engine.ts'
import type { Change, QuotaType } from '../../facts.ts'
import { decodeAttr } from '../../model/attr-record.ts'
import { CHUNK_BYTES } from '../../model/slice.ts'
import type { DeadLengths } from './dead-lengths.ts'
import { Directories, type Gather } from './directories.ts'
import { type Arg, command, type Reply } from './instruction.ts'
import { type Keys, parseLockField, parsePair } from './keys.ts'
import type { Link } from './link.ts'
import { attrOf, flockHolder, plockHolder } from './reads.ts'
import { SeenNumbers } from './seen.ts'
import { buffersOf, bytesOf, decodeLimits, listOf, numberOf, textOf } from './values.ts'

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

const KEYS_A_STEP = '10000'
const FIELDS_A_STEP = '1000'
/** walks that are remembered; more are only begun where somebody gives up half way again and again */
const MAX_WALKS = 64
/** Beyond the end of a file, chunks are looked for in steps of so many (4 GiB), as long as any are found. */
const CHUNKS_A_STEP = 64
const MAX_CHUNKS_A_STEP = 4096
/** of clients before 1.0, which store when they were last alive */
const LEGACY_LIFETIME_S = 300

export class Scanner {
  readonly #o: ScannerOptions
  readonly #directories: Directories
  readonly #walks = new Map<string, Walk<unknown>>()
  #walkCount = 0

  constructor(options: ScannerOptions) {
    this.#o = options
    this.#directories = new Directories(options.gather, options.keys)
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
  async chunkIndexes(ino: Ino): Promise<number[]> {
    const start = this.#o.keys.chunks(ino)
    const found = new Set<number>()
    for await (const names of this.#allKeys(`${start}*`)) {
      for (const name of names) if (/^\d+$/.test(name.slice(start.length))) found.add(Number(name.slice(start.length)))
    }
    return [...found].sort((a, b) => a - b)
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
      throw new Fault(`list ${kind}: too many lists were begun and not finished; this one is forgotten`)
    }
    const walk = known ?? { rows: this.#rowsOf(kind, args), waiting: [] }
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

  #rowsOf<K extends ScanKind>(kind: K, args: Scans[K]['args']): AsyncGenerator<readonly Row<K>[]> {
    const { keys } = this.#o
    const rows = (): AsyncGenerator<readonly unknown[]> => {
      const sid = (args as { sid: number }).sid
      switch (kind) {
        case 'sessions':
          return this.#sessions()
        case 'sustained':
          return this.#sustained(sid)
        case 'flocksOf':
          return this.#locksOf(sid, 'lockf', flockHolder)
        case 'plocksOf':
          return this.#locksOf(sid, 'lockp', plockHolder)
        case 'trashedSlices':
          return this.#trashedSlices((args as { before: number }).before)
        case 'unusedSlices':
          return this.#slices(({ id, size, refs }) => (refs <= 0 && id > 0 ? { id, size } : null))
        case 'sliceRefs':
          return this.#slices(row => row)
        case 'quotas':
          return this.#quotas((args as { type: QuotaType }).type)
        case 'dirUsages':
          return this.#dirUsages()
        case 'nodes':
          return this.#nodes()
        case 'chunks': {
          const { ino } = args as Scans['chunks']['args']
          return ino === null ? this.#allChunks(keys.prefix) : this.#chunksOf(ino)
        }
        default:
          throw new Fault(`no such list: ${kind}`)
      }
    }
    return rows() as AsyncGenerator<readonly Row<K>[]>
  }

  #ask(name: string, ...args: readonly Arg[]): Promise<Reply> {
    return this.#o.link.request(name, args, { doing: 'list metadata', again: true })
  }

  /** Keys that match, some of them perhaps twice. */
  async *#allKeys(pattern: string): AsyncGenerator<string[]> {
    let cursor = '0'
    do {
      const [next, found] = listOf(await this.#ask('SCAN', cursor, 'MATCH', pattern, 'COUNT', KEYS_A_STEP))
      yield buffersOf(found).map(textOf)
      cursor = textOf(next as Buffer)
    } while (cursor !== '0')
  }

  /** Fields and values of a hash, some of them perhaps twice. */
  async *#allFields(key: string): AsyncGenerator<[field: string, value: Buffer][]> {
    let cursor = '0'
    do {
      const [next, found] = listOf(await this.#ask('HSCAN', key, cursor, 'COUNT', FIELDS_A_STEP))
      const pairs = buffersOf(found)
      yield pairs.flatMap((field, i): [string, Buffer][] => (i % 2 === 0 ? [[textOf(field), pairs[i + 1]!]] : []))
      cursor = textOf(next as Buffer)
    } while (cursor !== '0')
  }

  async *#sessions(): AsyncGenerator<readonly Row<'sessions'>[]> {
    const { keys } = this.#o
    const [scores, infos, legacy] = await Promise.all([
      this.#ask('ZRANGE', keys.allSessions, '0', '-1', 'WITHSCORES'),
      this.#ask('HGETALL', keys.sessionInfos),
      keys.legacySessions === null ? null : this.#ask('ZRANGE', keys.legacySessions, '0', '-1', 'WITHSCORES'),
    ])
    const info = new Map(pairsOf(infos).map(([sid, value]) => [textOf(sid), value]))
    const rows = pairsOf(scores).map(([member, score]) => ({
      sid: numberOf(member),
      expire: numberOf(score),
      info: info.get(textOf(member)) ?? null,
    }))
    const known = new Set(rows.map(row => row.sid))
    const old = pairsOf(legacy)
      .map(([sid, beat]) => ({ sid: numberOf(sid), expire: numberOf(beat) + LEGACY_LIFETIME_S, info: null }))
      .filter(({ sid }) => !known.has(sid))
    yield [...rows, ...old].sort((a, b) => a.sid - b.sid)
  }

  async *#sustained(sid: number): AsyncGenerator<readonly Row<'sustained'>[]> {
    const members = buffersOf(await this.#ask('SMEMBERS', this.#o.keys.sustained(sid)))
    yield members.flatMap(member => inoRow(textOf(member)))
  }

  async *#locksOf<L extends 'lockf' | 'lockp', R extends { readonly sid: number }>(
    sid: number,
    which: L,
    make: (sid: number, owner: string, value: Buffer) => R,
  ): AsyncGenerator<readonly unknown[]> {
    const { keys } = this.#o
    const start = keys.prefix + which
    const hashes = buffersOf(await this.#ask('SMEMBERS', keys.locked(sid)))
      .map(textOf)
      .filter(name => name.startsWith(start))
    const replies = await Promise.all(hashes.map(name => this.#ask('HGETALL', name)))
    yield hashes.flatMap((name, i) => {
      const ino = inoFromString(name.slice(start.length))
      if (ino === null) return []
      return pairsOf(replies[i]).flatMap(([field, value]) => {
        const holder = parseLockField(textOf(field))
        if (holder?.sid !== sid) return []
        const { sid: _, ...rest } = make(sid, holder.owner, value)
        return [{ ino, ...rest }]
      })
    })
  }

  /** By time and name: what is removed meanwhile moves nothing. */
  async #deadFiles(before: number, after: string | null, limit: number): Promise<Page<Row<'deadFiles'>>> {
    const [lastAt, lastMember] = after === null ? [Number.NEGATIVE_INFINITY, ''] : split(after)
    const rows: Row<'deadFiles'>[] = []
    let [last, offset] = ['', 0]
    for (;;) {
      const from = lastAt === Number.NEGATIVE_INFINITY ? '-inf' : String(lastAt)
      const args = [from, `(${before}`, 'WITHSCORES', 'LIMIT', String(offset), String(limit + 1)]
      const found = pairsOf(await this.#ask('ZRANGEBYSCORE', this.#o.keys.deadFiles, ...args))
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

  async *#trashedSlices(before: number): AsyncGenerator<readonly Row<'trashedSlices'>[]> {
    const seen = new SeenNumbers()
    for await (const fields of this.#allFields(this.#o.keys.trashedSlices)) {
      yield fields.flatMap(([field, items]) => {
        const pair = parsePair(field, '_')
        if (pair === null || pair.second >= before || !seen.add(pair.first)) return []
        return [{ id: pair.first as number, at: pair.second, items }]
      })
    }
  }

  async *#slices<R>(pick: (row: Row<'sliceRefs'>) => R | null): AsyncGenerator<readonly R[]> {
    const seen = new SeenNumbers()
    for await (const fields of this.#allFields(this.#o.keys.sliceRefs)) {
      yield fields.flatMap(([field, value]) => {
        const pair = parsePair(field.slice(1), '_')
        if (pair === null || !seen.add(pair.first)) return []
        const row = pick({ id: pair.first, size: pair.second, refs: numberOf(value) + 1 })
        return row === null ? [] : [row]
      })
    }
  }

  async *#quotas(type: QuotaType): AsyncGenerator<readonly Row<'quotas'>[]> {
    const [limits, space, inodes] = this.#o.keys.quota(type)
    const seen = new SeenNumbers()
    for await (const fields of this.#allFields(limits)) {
      const fresh = fields.flatMap(([field, value]) => {
        const key = inoFromString(field)
        return key !== null && seen.add(key) ? [{ field, key, value }] : []
      })
      const names = fresh.map(({ field }) => field)
      const [spaces, counts] = await Promise.all([space, inodes].map(hash => this.#fields(hash, names)))
      yield fresh.map(({ key, value }, i) => ({
        key,
        quota: { ...decodeLimits(value), usedSpace: numberOf(spaces![i]), usedInodes: numberOf(counts![i]) },
      }))
    }
  }

  async *#dirUsages(): AsyncGenerator<readonly Row<'dirUsages'>[]> {
    const { keys } = this.#o
    const seen = new SeenNumbers()
    for await (const fields of this.#allFields(keys.dirSpace)) {
      const fresh = fields.flatMap(([field, value]) => {
        const ino = inoFromString(field)
        return ino !== null && seen.add(ino) ? [{ field, ino, value }] : []
      })
      const names = fresh.map(({ field }) => field)
      const [lengths, counts] = await Promise.all(
        [keys.dirLength, keys.dirInodes].map(hash => this.#fields(hash, names)),
      )
      yield fresh.map(({ ino, value }, i) => ({
        ino,
        usage: { length: numberOf(lengths![i]), space: numberOf(value), inodes: numberOf(counts![i]) },
      }))
    }
  }

  async #fields(hash: string, names: readonly string[]): Promise<readonly Reply[]> {
    return names.length === 0 ? [] : listOf(await this.#ask('HMGET', hash, ...names))
  }

  async *#nodes(): AsyncGenerator<readonly Row<'nodes'>[]> {
    const start = `${this.#o.keys.prefix}i`
    const seen = new SeenNumbers()
    for await (const names of this.#allKeys(`${start}[0-9]*`)) {
      const inos = names
        .map(name => inoFromString(name.slice(start.length)))
        .filter((ino): ino is Ino => ino !== null && seen.add(ino))
      if (inos.length === 0) continue
      const records = listOf(await this.#ask('MGET', ...inos.map(this.#o.keys.node)))
      yield inos.flatMap((ino, i) => {
        const attr = attrOf(ino, records[i])
        return attr === null ? [] : [{ ino, attr }]
      })
    }
  }

  async *#allChunks(prefix: string): AsyncGenerator<readonly Row<'chunks'>[]> {
    const start = `${prefix}c`
    const seen = new SeenNumbers()
    // Most files have one chunk; only the further ones are remembered by their names.
    const seenFurther = new Set<string>()
    const isFresh = (name: string, ino: Ino, index: number): boolean => {
      if (index === 0) return seen.add(ino)
      const { size } = seenFurther
      return seenFurther.add(name).size > size
    }
    for await (const names of this.#allKeys(`${start}[0-9]*_*`)) {
      const found = names.flatMap(name => {
        const pair = parsePair(name.slice(start.length), '_')
        return pair !== null && isFresh(name, pair.first, pair.second) ? [{ ino: pair.first, index: pair.second }] : []
      })
      yield await this.#chunks(found)
    }
  }

  async *#chunksOf(ino: Ino): AsyncGenerator<readonly Row<'chunks'>[]> {
    const end = await this.#chunkEnd(ino)
    let [from, count] = [0, CHUNKS_A_STEP]
    for (;;) {
      const indexes = Array.from({ length: count }, (_, i) => from + i)
      const rows = await this.#chunks(indexes.map(index => ({ ino, index })))
      yield rows
      from += count
      if (from >= end && rows.length === 0) return
      if (rows.length === 0) count = Math.min(2 * count, MAX_CHUNKS_A_STEP)
    }
  }

  /** How many chunks the file's length makes; a removed one's length stands in its record. */
  async #chunkEnd(ino: Ino): Promise<number> {
    const record = bytesOf(await this.#ask('GET', this.#o.keys.node(ino)))
    const length = record === null ? ((await this.#o.dead.lengthOf(ino)) ?? 0) : decodeAttr(ino, record).length
    return Math.ceil(length / CHUNK_BYTES)
  }

  async #chunks(wanted: readonly { readonly ino: Ino; readonly index: number }[]): Promise<readonly Row<'chunks'>[]> {
    if (wanted.length === 0) return []
    const { keys, gather } = this.#o
    const replies = await gather(
      wanted.map(({ ino, index }) => command('q', 'LRANGE', keys.chunk(ino, index), '0', '-1')),
    )
    return wanted.flatMap(({ ino, index }, i) => {
      const records = buffersOf(replies[i])
      return records.length === 0 ? [] : [{ ino, index, records: Buffer.concat(records) }]
    })
  }
}

const inoRow = (digits: string): { ino: Ino }[] => {
  const ino = inoFromString(digits)
  return ino === null ? [] : [{ ino }]
}

function pairsOf(reply: Reply | undefined): [Buffer, Buffer][] {
  const all = buffersOf(reply)
  return all.flatMap((each, i): [Buffer, Buffer][] => (i % 2 === 0 ? [[each, all[i + 1]!]] : []))
}

function split(cursor: string): [at: number, member: string] {
  const space = cursor.indexOf(' ')
  return [Number(cursor.slice(0, space)), cursor.slice(space + 1)]
}
