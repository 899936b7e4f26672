/** Objects in PostgreSQL: `[postgres://]host[:port]/db[?params]`, user and password from the keys of the setting. */

import type { Socket } from 'node:net'
import type { Pool, QueryConfig } from 'pg'
import { EINVAL } from '../../base/errno.ts'
import { Fault } from '../../base/fault.ts'
import { bucketUrl } from '../bucket-url.ts'
import type { ByteRange } from '../store.ts'
import { SILENCE_MS, whileHeard } from './silence.ts'
import { type BlobRow, type BlobTable, MAX_CONNECTIONS } from './store.ts'

const CONNECT_MS = 10_000
const IDLE_MS = 300_000

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
  readonly #silenceMs: number

  private constructor(pool: Pool, description: string, silenceMs: number) {
    this.#pool = pool
    this.description = description
    this.#silenceMs = silenceMs
  }

  /** Does no I/O. */
  static async open(
    { bucket, accessKey, secretKey }: PostgresSetting,
    silenceMs: number = SILENCE_MS,
  ): Promise<PostgresBlobs> {
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
      keepAlive: true,
      allowExitOnIdle: true,
      ...(schema && { options: `-c search_path=${schema}` }),
    })
    // A connection that breaks while idle is replaced, nobody waits for it; in use, its statement tells.
    pool.on('error', () => {})
    pool.on('connect', client => client.on('error', () => {}))
    return new PostgresBlobs(pool, `postgres://${url.host}${url.pathname}/`, silenceMs)
  }

  async prepare(): Promise<void> {
    const statements = `
      CREATE TABLE IF NOT EXISTS jfs_blob (id BIGSERIAL PRIMARY KEY NOT NULL, key BYTEA NOT NULL, size BIGINT NOT NULL,
        modified TIMESTAMP NOT NULL, data BYTEA NULL);
      CREATE UNIQUE INDEX IF NOT EXISTS "UQE_jfs_blob_blob" ON jfs_blob (key)`
    // Two that make the table at once: one of them fails on a catalogue, and then it is there.
    await this.#query(statements).catch(() => this.#query(statements))
  }

  async read(key: Buffer, range: ByteRange | undefined): Promise<Buffer | null> {
    const data = range ? `substring(data FROM ${range.offset + 1} FOR ${range.length})` : 'data'
    const text = `SELECT ${data} FROM jfs_blob WHERE key = $1`
    const { rows } = await this.#query({ text, values: [key], rowMode: 'array' })
    const row = rows[0] as (Buffer | null)[] | undefined
    return row ? (row[0] ?? Buffer.alloc(0)) : null
  }

  async write(key: Buffer, data: Buffer): Promise<void> {
    await this.#query({
      text: `INSERT INTO jfs_blob (key, size, modified, data) VALUES ($1, $2, now() AT TIME ZONE 'UTC', $3)
             ON CONFLICT (key) DO UPDATE SET size = EXCLUDED.size, data = EXCLUDED.data`,
      values: [key, data.length, data],
    })
  }

  async remove(key: Buffer): Promise<void> {
    await this.#query({ text: 'DELETE FROM jfs_blob WHERE key = $1', values: [key] })
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
    const { rows } = await this.#query({ text, values, rowMode: 'array' })
    return (rows as RowValues[]).map(([keyHex, size, modifiedSec]) => ({
      key: Buffer.from(keyHex, 'hex').toString(),
      size,
      mtimeMs: modifiedSec * 1000,
    }))
  }

  async #query(query: string | QueryConfig | (QueryConfig & { readonly rowMode: 'array' })): Promise<{
    readonly rows: readonly unknown[]
  }> {
    const client = await this.#pool.connect()
    let failure: unknown
    try {
      // its socket, which is another one once it speaks TLS, is not in the types
      const { stream } = (client as unknown as { readonly connection: { readonly stream: Socket } }).connection
      return await whileHeard(stream, this.#silenceMs, () => client.query(query as QueryConfig))
    } catch (error) {
      failure = error
      throw error
    } finally {
      // after a failure nobody knows what state it is in
      client.release(failure !== undefined)
    }
  }
}
