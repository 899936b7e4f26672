/** Objects in PostgreSQL: `[postgres://]host[:port]/db[?params]`, user and password from the keys of the setting. */

import type { Pool } from 'pg'
import { EINVAL } from '../../base/errno.ts'
import { Fault } from '../../base/fault.ts'
import { bucketUrl } from '../bucket-url.ts'
import type { ByteRange } from '../store.ts'
import type { BlobRow, BlobTable } from './store.ts'

const MAX_CONNECTIONS = 20
const CONNECT_MS = 10_000
const IDLE_MS = 300_000
const SILENCE_MS = 60_000

const ROW = "encode(key, 'hex'), size::float8, extract(epoch FROM modified)::float8"
type RowValues = readonly [keyHex: string, size: number, modifiedSec: number]

export interface PostgresSetting {
  readonly bucket: string
  readonly accessKey?: string | undefined
  readonly secretKey?: string | undefined
}

export class PostgresBlobs implements BlobTable {
  readonly description: string
  readonly #pool: Pool

  private constructor(pool: Pool, description: string) {
    this.#pool = pool
    this.description = description
  }

  /** Does no I/O. */
  static async open({ bucket, accessKey, secretKey }: PostgresSetting): Promise<PostgresBlobs> {
    const url = bucketUrl(bucket, () => 'postgres')
    if (accessKey) url.username = encodeURIComponent(accessKey)
    if (secretKey) url.password = encodeURIComponent(secretKey)
    const schema = url.searchParams.get('search_path')
    url.searchParams.delete('search_path')
    if (schema?.includes(',')) throw new Fault(`search_path ${schema}: one schema only`, { errno: EINVAL })
    const { default: pg } = await import('pg')
    const pool = new pg.Pool({
      connectionString: url.href,
      max: MAX_CONNECTIONS,
      connectionTimeoutMillis: CONNECT_MS,
      idleTimeoutMillis: IDLE_MS,
      query_timeout: SILENCE_MS,
      keepAlive: true,
      allowExitOnIdle: true,
      ...(schema && { options: `-c search_path=${schema}` }),
    })
    // A connection that breaks while idle is replaced; nobody waits for it.
    pool.on('error', () => {})
    return new PostgresBlobs(pool, `postgres://${url.host}${url.pathname}/`)
  }

  async prepare(): Promise<void> {
    const statements = `
      CREATE TABLE IF NOT EXISTS jfs_blob (id BIGSERIAL PRIMARY KEY NOT NULL, key BYTEA NOT NULL, size BIGINT NOT NULL,
        modified TIMESTAMP NOT NULL, data BYTEA NULL);
      CREATE UNIQUE INDEX IF NOT EXISTS "UQE_jfs_blob_blob" ON jfs_blob (key)`
    // Two that make the table at once: one of them fails on a catalogue, and then it is there.
    await this.#pool.query(statements).catch(() => this.#pool.query(statements))
  }

  async read(key: Buffer, range: ByteRange | undefined): Promise<Buffer | null> {
    const data = range ? `substring(data FROM ${range.offset + 1} FOR ${range.length})` : 'data'
    const text = `SELECT ${data} FROM jfs_blob WHERE key = $1`
    const { rows } = await this.#pool.query<(Buffer | null)[]>({ text, values: [key], rowMode: 'array' })
    const row = rows[0]
    return row ? (row[0] ?? Buffer.alloc(0)) : null
  }

  async write(key: Buffer, data: Buffer): Promise<void> {
    await this.#pool.query(
      `INSERT INTO jfs_blob (key, size, modified, data) VALUES ($1, $2, now() AT TIME ZONE 'UTC', $3)
       ON CONFLICT (key) DO UPDATE SET size = EXCLUDED.size, data = EXCLUDED.data`,
      [key, data.length, data],
    )
  }

  async remove(key: Buffer): Promise<void> {
    await this.#pool.query('DELETE FROM jfs_blob WHERE key = $1', [key])
  }

  async describe(key: Buffer): Promise<BlobRow | null> {
    const [row] = await this.#rows(`SELECT ${ROW} FROM jfs_blob WHERE key = $1`, [key])
    return row ?? null
  }

  page(after: Buffer, from: Buffer, to: Buffer | null, limit: number): Promise<BlobRow[]> {
    const end = to ? 'AND key < $4' : ''
    const values = [after, from, limit, ...(to ? [to] : [])]
    return this.#rows(`SELECT ${ROW} FROM jfs_blob WHERE key > $1 AND key >= $2 ${end} ORDER BY key LIMIT $3`, values)
  }

  async close(): Promise<void> {
    await this.#pool.end()
  }

  async #rows(text: string, values: unknown[]): Promise<BlobRow[]> {
    const { rows } = await this.#pool.query<RowValues[]>({ text, values, rowMode: 'array' })
    return (rows as unknown as RowValues[]).map(([keyHex, size, modifiedSec]) => ({
      key: Buffer.from(keyHex, 'hex').toString(),
      size,
      mtimeMs: modifiedSec * 1000,
    }))
  }
}
