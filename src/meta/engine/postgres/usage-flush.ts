/** The sums of usage (sql/usage-writer.ts) as statements: a few for everything that was added in a second. Rows are locked by
 *  ascending key, the counters that all clients share last. */

import { type Ino, inoToString } from '../../../base/ino.ts'
import { QUOTA_DIR, type QuotaType } from '../../facts.ts'
import type { SumSink } from '../sql/usage-sums.ts'
import type { Bound, Statement } from './flight.ts'
import type { Tables } from './tables.ts'

export class UsageFlush implements SumSink {
  readonly #tables: Tables
  #space = 0
  #inodes = 0
  readonly #dirs: { ino: Ino; values: readonly number[] }[] = []
  readonly #dirQuotas: { ino: Ino; values: readonly number[] }[] = []
  readonly #owners: { type: QuotaType; key: number; space: number; inodes: number }[] = []

  constructor(tables: Tables) {
    this.#tables = tables
  }

  addUsage(space: number, inodes: number): void {
    this.#space += space
    this.#inodes += inodes
  }

  addDirUsage(ino: Ino, length: number, space: number, inodes: number): void {
    this.#dirs.push({ ino, values: [length, space, inodes] })
  }

  addQuotaUsage(type: QuotaType, key: number, space: number, inodes: number): void {
    if (type === QUOTA_DIR) this.#dirQuotas.push({ ino: key as Ino, values: [space, inodes] })
    else this.#owners.push({ type, key, space, inodes })
  }

  statements(): Statement[] {
    const statements = [
      ...this.#update('dir_stats', ['data_length', 'used_space', 'used_inodes'], this.#dirs),
      ...this.#update('dir_quota', ['used_space', 'used_inodes'], this.#dirQuotas),
    ]
    if (this.#owners.length > 0) statements.push(this.#addToOwners())
    for (const [name, value] of [
      ['totalInodes', this.#inodes],
      ['usedSpace', this.#space],
    ] as const) {
      if (value !== 0) statements.push(this.#addToCounter(name, value))
    }
    return statements
  }

  #update(table: string, columns: readonly string[], rows: { ino: Ino; values: readonly number[] }[]): Statement[] {
    if (rows.length === 0) return []
    const full = this.#tables.name(table)
    const inodes = array(rows.map(({ ino }) => inoToString(ino)))
    const set = columns.map((column, i) => `${column} = d.${column} + v.c${i}`).join(', ')
    const names = columns.map((_, i) => `c${i}`).join(', ')
    const arrays = columns.map((_, i) => `$${i + 2}::bigint[]`).join(', ')
    return [
      {
        name: `hold ${table}`,
        text: `SELECT 1 FROM ${full} WHERE inode = ANY ($1::bigint[]) ORDER BY inode FOR UPDATE`,
        values: [inodes],
      },
      {
        name: `add to ${table}`,
        text: `UPDATE ${full} d SET ${set} FROM unnest($1::bigint[], ${arrays}) AS v(inode, ${names})
          WHERE d.inode = v.inode`,
        values: [inodes, ...columns.map((_, i) => array(rows.map(({ values }) => values[i]!)))],
      },
    ]
  }

  #addToOwners(): Statement {
    const full = this.#tables.name('user_group_quota')
    const owners = this.#owners
    const columns = (['type', 'key', 'space', 'inodes'] as const).map(name => array(owners.map(owner => owner[name])))
    return {
      name: 'add to user_group_quota',
      text: `INSERT INTO ${full} AS q (qtype, qkey, max_space, max_inodes, used_space, used_inodes)
        SELECT v.qtype, v.qkey, -1, -1, v.space, v.inodes
          FROM unnest($1::int[], $2::bigint[], $3::bigint[], $4::bigint[]) AS v(qtype, qkey, space, inodes)
          ORDER BY v.qtype, v.qkey
        ON CONFLICT (qtype, qkey) DO UPDATE SET
          used_space = q.used_space + excluded.used_space, used_inodes = q.used_inodes + excluded.used_inodes`,
      values: columns,
    }
  }

  #addToCounter(name: string, value: number): Statement {
    const values: Bound[] = [name, String(value)]
    return {
      name: 'add to counter',
      text: `INSERT INTO ${this.#tables.name('counter')} AS c (name, value) VALUES ($1::text, $2::bigint)
        ON CONFLICT (name) DO UPDATE SET value = c.value + excluded.value`,
      values,
    }
  }
}

const array = (values: readonly (number | string)[]): string => `{${values.join()}}`
