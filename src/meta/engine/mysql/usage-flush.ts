/** The sums of usage (sql/usage-writer.ts) as statements: one a record, for everything that was added in a second. Rows are locked
 *  by ascending key, the counters that all clients share last. */

import { type Ino, inoToString } from '../../../base/ino.ts'
import { QUOTA_DIR, type QuotaType } from '../../facts.ts'
import type { SumSink } from '../sql/usage-sums.ts'
import { characters, type Statement } from './statement.ts'
import type { Tables } from './tables.ts'

interface DirSum {
  readonly ino: Ino
  readonly values: readonly number[]
}

export class UsageFlush implements SumSink {
  readonly #tables: Tables
  #space = 0
  #inodes = 0
  readonly #dirs: DirSum[] = []
  readonly #dirQuotas: DirSum[] = []
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
    return [
      ...this.#update('dir_stats', ['data_length', 'used_space', 'used_inodes'], this.#dirs),
      ...this.#update('dir_quota', ['used_space', 'used_inodes'], this.#dirQuotas),
      ...this.#addToOwners(),
      ...this.#addToCounter('totalInodes', this.#inodes),
      ...this.#addToCounter('usedSpace', this.#space),
    ]
  }

  #update(table: string, columns: readonly string[], sums: DirSum[]): Statement[] {
    const set = columns.map((column, i) => `${column} = ${column} + $${i + 2}`).join(', ')
    const text = `UPDATE ${this.#tables.name(table)} SET ${set} WHERE inode = $1`
    sums.sort((a, b) => a.ino - b.ino)
    return sums.map(({ ino, values }) => ({ text, values: [inoToString(ino), ...values] }))
  }

  #addToOwners(): Statement[] {
    const text = `INSERT INTO ${this.#tables.name('user_group_quota')}
        (qtype, qkey, max_space, max_inodes, used_space, used_inodes) VALUES ($1, $2, -1, -1, $3, $4)
      ON DUPLICATE KEY UPDATE used_space = used_space + $3, used_inodes = used_inodes + $4`
    this.#owners.sort((a, b) => a.type - b.type || a.key - b.key)
    return this.#owners.map(({ type, key, space, inodes }) => ({ text, values: [type, key, space, inodes] }))
  }

  #addToCounter(name: string, value: number): Statement[] {
    if (value === 0) return []
    const text = `INSERT INTO ${this.#tables.name('counter')} (name, value) VALUES ($1, $2)
      ON DUPLICATE KEY UPDATE value = value + $2`
    return [{ text, values: [characters(name), value] }]
  }
}
