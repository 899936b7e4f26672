/** Paged reads: one statement a page, by the key after the last of the page before. Rows come as facts do: numbers and bytes
 *  (questions.ts). */

import { nameToBytes } from '../../../base/bytes.ts'
import { type Ino, inoToString } from '../../../base/ino.ts'
import type { Cursor, Page, ScanKind, Scans } from '../../engine.ts'
import { QUOTA_DIR } from '../../facts.ts'
import { attrColumns, foldedIno } from '../sql/columns.ts'
import { pageOf } from '../sql/scan-rows.ts'
import type { Answer, Bound, Statement } from './flight.ts'
import { rowFrom } from './questions.ts'
import type { Tables } from './tables.ts'

interface Query {
  readonly name: string
  readonly table: string
  readonly numbers: readonly string[]
  readonly bytes?: string
  /** with $3, $4, … for `values` */
  readonly where?: string
  readonly values?: readonly Bound[]
  readonly key: string
}

export class Scanner {
  readonly #tables: Tables

  constructor(tables: Tables) {
    this.#tables = tables
  }

  statement<K extends ScanKind>(kind: K, args: Scans[K]['args'], cursor: Cursor | null, limit: number): Statement {
    const { name, table, numbers, bytes, where, values = [], key } = this.#query(kind, args)
    const isByName = kind === 'entries'
    const after = isByName ? `${key} > $1::bytea` : `${key} > $1::bigint`
    const start = isByName ? nameToBytes((cursor as string | null) ?? '') : inoToString((cursor ?? -1) as Ino)
    return {
      name: `scan ${this.#tables.generation} ${name}`,
      text: `SELECT ARRAY[${numbers.join(', ')}]::bigint[]::text, ${bytes ? `encode(${bytes}, 'hex')` : 'NULL'}
        FROM ${table} WHERE ${after}${where ? ` AND ${where}` : ''} ORDER BY ${key} LIMIT $2::int`,
      values: [start, String(limit), ...values],
    }
  }

  page<K extends ScanKind>(kind: K, answer: Answer, limit: number): Page<Scans[K]['row']> {
    const rows = answer.rows.map(([n, b]) => rowFrom(n!, b!))
    return pageOf(kind, rows, limit)
  }

  #query(kind: ScanKind, args: Scans[ScanKind]['args']): Query {
    const t = this.#tables.name
    const attrs = (alias: string) => attrColumns(alias, this.#tables.nodeColumns)
    const { ino = null, sid = 0, before = 0 } = args as { ino?: Ino | null; sid?: number; before?: number }
    switch (kind) {
      case 'entries': {
        const { parent, attrs: wanted } = args as Scans['entries']['args']
        const edge = [foldedIno('e.inode'), 'e.type']
        const rest = { where: 'e.parent = $3::bigint', values: [inoToString(parent)], bytes: 'e.name', key: 'e.name' }
        if (!wanted) return { name: kind, table: `${t('edge')} e`, numbers: [...edge, '0'], ...rest }
        return {
          name: `${kind} with attributes`,
          table: `${t('edge')} e LEFT JOIN ${t('node')} n ON n.inode = e.inode`,
          numbers: [...edge, '(n.inode IS NOT NULL)::int', attrs('n.')],
          ...rest,
        }
      }
      case 'sessions':
        return { name: kind, table: t('session2'), numbers: ['sid', 'expire'], bytes: 'info', key: 'sid' }
      case 'sustained':
        return {
          name: kind,
          table: t('sustained'),
          numbers: [foldedIno('inode')],
          where: 'sid = $3::bigint',
          values: [String(sid)],
          key: 'inode',
        }
      case 'flocksOf':
      case 'plocksOf':
        return {
          name: kind,
          table: t(kind === 'flocksOf' ? 'flock' : 'plock'),
          numbers: ['id', foldedIno('inode'), kind === 'flocksOf' ? 'ltype' : '0'],
          bytes: kind === 'flocksOf' ? 'int8send(owner)' : 'int8send(owner) || records',
          where: 'sid = $3::bigint',
          values: [String(sid)],
          key: 'id',
        }
      case 'deadFiles':
        return {
          name: kind,
          table: t('delfile'),
          numbers: [foldedIno('inode'), 'length', 'expire'],
          where: 'expire < $3::bigint',
          values: [String(before)],
          key: 'inode',
        }
      case 'trashedSlices':
        return {
          name: kind,
          table: t('delslices'),
          numbers: ['chunkid', 'deleted'],
          bytes: 'slices',
          where: 'deleted < $3::bigint',
          values: [String(before)],
          key: 'chunkid',
        }
      case 'unusedSlices':
        return {
          name: kind,
          table: t('chunk_ref'),
          numbers: ['chunkid', 'size'],
          where: 'refs <= 0 AND chunkid > 0',
          key: 'chunkid',
        }
      case 'chunks':
        return {
          name: ino === null ? kind : 'chunks of a file',
          table: t('chunk'),
          numbers: [ino === null ? 'id' : 'indx', foldedIno('inode'), 'indx'],
          bytes: 'slices',
          ...(ino === null ? { key: 'id' } : { key: 'indx', where: 'inode = $3::bigint', values: [inoToString(ino)] }),
        }
      case 'quotas': {
        const { type } = args as Scans['quotas']['args']
        const columns = ['max_space', 'max_inodes', 'used_space', 'used_inodes']
        if (type === QUOTA_DIR)
          return { name: kind, table: t('dir_quota'), numbers: [foldedIno('inode'), ...columns], key: 'inode' }
        return {
          name: 'quotas of owners',
          table: t('user_group_quota'),
          numbers: ['qkey', ...columns],
          where: 'qtype = $3::int',
          values: [String(type)],
          key: 'qkey',
        }
      }
      case 'dirUsages': {
        const columns = ['data_length', 'used_space', 'used_inodes']
        return { name: kind, table: t('dir_stats'), numbers: [foldedIno('inode'), ...columns], key: 'inode' }
      }
      case 'nodes':
        return { name: kind, table: t('node'), numbers: [foldedIno('inode'), attrs('')], key: 'inode' }
      case 'sliceRefs':
        return { name: kind, table: t('chunk_ref'), numbers: ['chunkid', 'size', 'refs'], key: 'chunkid' }
    }
  }
}
