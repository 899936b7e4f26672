/** Paged reads: one statement a page, by the key after the last of the page before. Rows come as facts do: numbers and bytes
 *  (questions.ts). */

import { nameToBytes } from '../../../base/bytes.ts'
import { type Ino, inoToString } from '../../../base/ino.ts'
import type { Cursor, Page, ScanKind, Scans } from '../../engine.ts'
import { QUOTA_DIR } from '../../facts.ts'
import { foldedIno } from '../sql/columns.ts'
import { pageOf } from '../sql/scan-rows.ts'
import { numbers as joined, nodeNumbers, ownerWith, rowFrom } from './questions.ts'
import type { Answer, Bound, Statement } from './statement.ts'
import type { Tables } from './tables.ts'

interface Query {
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
    const { table, numbers, bytes = 'NULL', where, values = [], key } = this.#query(kind, args)
    const start = kind === 'entries' ? nameToBytes((cursor as string | null) ?? '') : inoToString((cursor ?? -1) as Ino)
    return {
      text: `SELECT ${joined(...numbers)}, ${bytes} FROM ${table}
        WHERE ${key} > $1${where ? ` AND ${where}` : ''} ORDER BY ${key} LIMIT $2`,
      values: [start, limit, ...values],
    }
  }

  page<K extends ScanKind>(kind: K, answer: Answer, limit: number): Page<Scans[K]['row']> {
    const rows = answer.rows.map(([n, b]) => rowFrom(n, b))
    return pageOf(kind, rows, limit)
  }

  #query(kind: ScanKind, args: Scans[ScanKind]['args']): Query {
    const t = this.#tables.name
    const { ino = null, sid = 0, before = 0 } = args as { ino?: Ino | null; sid?: number; before?: number }
    switch (kind) {
      case 'entries': {
        const { parent, attrs: wanted } = args as Scans['entries']['args']
        const edge = [foldedIno('e.inode'), 'e.type']
        const rest = { where: 'e.parent = $3', values: [inoToString(parent)], bytes: 'e.name', key: 'e.name' }
        if (!wanted) return { table: `${t('edge')} e`, numbers: [...edge, '0'], ...rest }
        return {
          table: `${t('edge')} e LEFT JOIN ${t('node')} n ON n.inode = e.inode`,
          numbers: [...edge, 'n.inode IS NOT NULL', nodeNumbers('n.', this.#tables)],
          ...rest,
        }
      }
      case 'sessions':
        return { table: t('session2'), numbers: ['sid', 'expire'], bytes: 'info', key: 'sid' }
      case 'sustained':
        return {
          table: t('sustained'),
          numbers: [foldedIno('inode')],
          where: 'sid = $3',
          values: [sid],
          key: 'inode',
        }
      case 'flocksOf':
      case 'plocksOf':
        return {
          table: t(kind === 'flocksOf' ? 'flock' : 'plock'),
          numbers: ['id', foldedIno('inode'), kind === 'flocksOf' ? 'ltype' : '0'],
          bytes: kind === 'flocksOf' ? ownerWith() : ownerWith('records'),
          where: 'sid = $3',
          values: [sid],
          key: 'id',
        }
      case 'deadFiles':
        return {
          table: t('delfile'),
          numbers: [foldedIno('inode'), 'length', 'expire'],
          where: 'expire < $3',
          values: [before],
          key: 'inode',
        }
      case 'trashedSlices':
        return {
          table: t('delslices'),
          numbers: ['chunkid', 'deleted'],
          bytes: 'slices',
          where: 'deleted < $3',
          values: [before],
          key: 'chunkid',
        }
      case 'unusedSlices':
        return {
          table: t('chunk_ref'),
          numbers: ['chunkid', 'size'],
          where: 'refs <= 0 AND chunkid > 0',
          key: 'chunkid',
        }
      case 'chunks':
        return {
          table: t('chunk'),
          numbers: [ino === null ? 'id' : 'indx', foldedIno('inode'), 'indx'],
          bytes: 'slices',
          ...(ino === null ? { key: 'id' } : { key: 'indx', where: 'inode = $3', values: [inoToString(ino)] }),
        }
      case 'quotas': {
        const { type } = args as Scans['quotas']['args']
        const columns = ['max_space', 'max_inodes', 'used_space', 'used_inodes']
        if (type === QUOTA_DIR)
          return { table: t('dir_quota'), numbers: [foldedIno('inode'), ...columns], key: 'inode' }
        return {
          table: t('user_group_quota'),
          numbers: ['qkey', ...columns],
          where: 'qtype = $3',
          values: [type],
          key: 'qkey',
        }
      }
      case 'dirUsages': {
        const columns = ['data_length', 'used_space', 'used_inodes']
        return { table: t('dir_stats'), numbers: [foldedIno('inode'), ...columns], key: 'inode' }
      }
      case 'nodes':
        return { table: t('node'), numbers: [foldedIno('inode'), nodeNumbers('', this.#tables)], key: 'inode' }
      case 'sliceRefs':
        return { table: t('chunk_ref'), numbers: ['chunkid', 'size', 'refs'], key: 'chunkid' }
    }
  }
}
