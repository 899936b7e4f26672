/** Objects as rows of a table (storages `sqlite3`, `postgres`, `mysql`; spec data-objects section 4):
 *
 *      jfs_blob   id | key (bytes, unique) | size | modified (UTC) | data
 *
 *  The three differ in how they are asked, not in what: each is a BlobTable. The table is made at the first request. */

import { Fault } from '../../base/fault.ts'
import { type ByteRange, type ObjectInfo, ObjectMissing, type ObjectStore } from '../store.ts'

/** Requests at a time; more wait here, as long as it takes, and not for a connection, which is an error after ten seconds. */
export const MAX_CONNECTIONS = 20

export interface BlobRow {
  readonly key: string
  readonly size: number
  readonly mtimeMs: number
}

export interface BlobTable {
  /** for messages, without a password */
  readonly description: string
  /** where there is none */
  prepare(): Promise<void>
  /** null: no such row. Cut by the database, not after it. */
  read(key: Buffer, range: ByteRange | undefined): Promise<Buffer | null>
  write(key: Buffer, data: Buffer): Promise<void>
  remove(key: Buffer): Promise<void>
  describe(key: Buffer): Promise<BlobRow | null>
  /** Ascending: after `after`, from `from`, before `to` (null: to the end). */
  page(after: Buffer, from: Buffer, to: Buffer | null, limit: number): Promise<BlobRow[]>
  close(): Promise<void>
}

export class SqlStore implements ObjectStore {
  readonly description: string
  readonly limits = { rangeReads: true, maxListPage: 10_000 }
  readonly #table: BlobTable
  #prepared: Promise<void> | null = null
  #busy = 0
  readonly #waiting: (() => void)[] = []

  constructor(table: BlobTable) {
    this.#table = table
    this.description = table.description
  }

  async get(key: string, range?: ByteRange): Promise<Buffer> {
    const bytes = await this.#run(`get object ${key}`, table => table.read(Buffer.from(key), range))
    if (bytes === null) throw new ObjectMissing(key)
    return bytes
  }

  put(key: string, body: Buffer): Promise<void> {
    return this.#run(`put object ${key}`, table => table.write(Buffer.from(key), body))
  }

  delete(key: string): Promise<void> {
    return this.#run(`delete object ${key}`, table => table.remove(Buffer.from(key)))
  }

  async head(key: string): Promise<ObjectInfo | null> {
    const row = await this.#run(`head object ${key}`, table => table.describe(Buffer.from(key)))
    return row && { ...row, isDirectory: false }
  }

  async list(prefix: string, marker: string, limit: number): Promise<ObjectInfo[]> {
    const from = Buffer.from(prefix)
    const rows = await this.#run(`list objects ${prefix}`, table =>
      table.page(Buffer.from(marker), from, afterPrefix(from), limit),
    )
    return rows.map(row => ({ ...row, isDirectory: false }))
  }

  create(): Promise<void> {
    return this.#run('make the table', async () => {})
  }

  close(): Promise<void> {
    return this.#table.close()
  }

  async #run<T>(doing: string, work: (table: BlobTable) => Promise<T>): Promise<T> {
    if (this.#busy < MAX_CONNECTIONS) this.#busy++
    else await new Promise<void>(resolve => this.#waiting.push(resolve))
    try {
      this.#prepared ??= this.#table.prepare().catch(error => {
        this.#prepared = null
        throw error
      })
      await this.#prepared
      return await work(this.#table)
    } catch (error) {
      throw new Fault(doing, { cause: error })
    } finally {
      const next = this.#waiting.shift()
      if (next) next()
      else this.#busy--
    }
  }
}

/** The first key behind all that begin with the prefix; null: none is. */
function afterPrefix(prefix: Buffer): Buffer | null {
  let end = prefix.length
  while (end > 0 && prefix[end - 1] === 0xff) end--
  if (end === 0) return null
  const after = Buffer.from(prefix.subarray(0, end))
  after[end - 1]!++
  return after
}
