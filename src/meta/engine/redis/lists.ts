/** The rows of each list, a step of Redis's own walk (or all that there are) at a time. Redis may list a key or a field twice
 *  while its tables grow or shrink: what came by already is left out. */

import { Fault } from '../../../base/fault.ts'
import { type Ino, inoFromString } from '../../../base/ino.ts'
import type { ScanKind, Scans } from '../../engine.ts'
import type { QuotaType } from '../../facts.ts'
import { decodeAttr } from '../../model/attr-record.ts'
import { CHUNK_BYTES } from '../../model/slice.ts'
import type { DeadLengths } from './dead-lengths.ts'
import type { Arg, Reply } from './instruction.ts'
import { type Keys, parseLockField, parsePair } from './keys.ts'
import type { Link } from './link.ts'
import { attrOf, flockHolder, plockHolder } from './reads.ts'
import { SeenNumbers } from './seen.ts'
import { buffersOf, bytesOf, decodeLimits, listOf, numberOf, pairsOf, textOf } from './values.ts'

type Row<K extends ScanKind> = Scans[K]['row']

const KEYS_A_STEP = '4096'
const FIELDS_A_STEP = '1000'
/** Beyond the end of a file, chunks are looked for in steps of so many (4 GiB), as long as any are found. */
const CHUNKS_A_STEP = 64
const MAX_CHUNKS_A_STEP = 4096
/** of clients before 1.0, which store when they were last alive */
const LEGACY_LIFETIME_S = 300

export class Lists {
  readonly #link: Link
  readonly #keys: Keys
  readonly #dead: DeadLengths

  constructor(link: Link, keys: Keys, dead: DeadLengths) {
    this.#link = link
    this.#keys = keys
    this.#dead = dead
  }

  /** All rows of a list that is walked (not of directories and removed files, which have an order to go on by). */
  rowsOf<K extends ScanKind>(kind: K, args: Scans[K]['args']): AsyncGenerator<readonly Row<K>[]> {
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
          return ino === null ? this.#allChunks() : this.#chunksOf(ino)
        }
        default:
          throw new Fault(`no such list: ${kind}`)
      }
    }
    return rows() as AsyncGenerator<readonly Row<K>[]>
  }

  /** Indexes of all chunks that a file has, ascending, by a walk over all keys. */
  async chunkIndexes(ino: Ino): Promise<number[]> {
    const start = this.#keys.chunks(ino)
    const found = new Set<number>()
    for await (const names of this.#allKeys(`${start}*`)) {
      for (const name of names) if (/^\d+$/.test(name.slice(start.length))) found.add(Number(name.slice(start.length)))
    }
    return [...found].sort((a, b) => a - b)
  }

  #ask(name: string, ...args: readonly Arg[]): Promise<Reply> {
    return this.#link.request(name, args, { doing: 'list metadata', again: true })
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
    const keys = this.#keys
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
    const members = buffersOf(await this.#ask('SMEMBERS', this.#keys.sustained(sid)))
    yield members.flatMap(member => inoRow(textOf(member)))
  }

  async *#locksOf<L extends 'lockf' | 'lockp', R extends { readonly sid: number }>(
    sid: number,
    which: L,
    make: (sid: number, owner: string, value: Buffer) => R,
  ): AsyncGenerator<readonly unknown[]> {
    const keys = this.#keys
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

  async *#trashedSlices(before: number): AsyncGenerator<readonly Row<'trashedSlices'>[]> {
    const seen = new SeenNumbers()
    for await (const fields of this.#allFields(this.#keys.trashedSlices)) {
      yield fields.flatMap(([field, items]) => {
        const pair = parsePair(field, '_')
        if (pair === null || pair.second >= before || !seen.add(pair.first)) return []
        return [{ id: pair.first as number, at: pair.second, items }]
      })
    }
  }

  async *#slices<R>(pick: (row: Row<'sliceRefs'>) => R | null): AsyncGenerator<readonly R[]> {
    const seen = new SeenNumbers()
    for await (const fields of this.#allFields(this.#keys.sliceRefs)) {
      yield fields.flatMap(([field, value]) => {
        const pair = parsePair(field.slice(1), '_')
        if (pair === null || !seen.add(pair.first)) return []
        const row = pick({ id: pair.first, size: pair.second, refs: numberOf(value) + 1 })
        return row === null ? [] : [row]
      })
    }
  }

  async *#quotas(type: QuotaType): AsyncGenerator<readonly Row<'quotas'>[]> {
    const [limits, space, inodes] = this.#keys.quota(type)
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
    const keys = this.#keys
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
    const start = `${this.#keys.prefix}i`
    const seen = new SeenNumbers()
    for await (const names of this.#allKeys(`${start}[0-9]*`)) {
      const inos = names
        .map(name => inoFromString(name.slice(start.length)))
        .filter((ino): ino is Ino => ino !== null && seen.add(ino))
      if (inos.length === 0) continue
      const records = listOf(await this.#ask('MGET', ...inos.map(this.#keys.node)))
      yield inos.flatMap((ino, i) => {
        const attr = attrOf(ino, records[i])
        return attr === null ? [] : [{ ino, attr }]
      })
    }
  }

  async *#allChunks(): AsyncGenerator<readonly Row<'chunks'>[]> {
    const start = `${this.#keys.prefix}c`
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
    const record = bytesOf(await this.#ask('GET', this.#keys.node(ino)))
    const length = record === null ? ((await this.#dead.lengthOf(ino)) ?? 0) : decodeAttr(ino, record).length
    return Math.ceil(length / CHUNK_BYTES)
  }

  async #chunks(wanted: readonly { readonly ino: Ino; readonly index: number }[]): Promise<readonly Row<'chunks'>[]> {
    if (wanted.length === 0) return []
    const replies = await Promise.all(
      wanted.map(({ ino, index }) => this.#ask('LRANGE', this.#keys.chunk(ino, index), '0', '-1')),
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
