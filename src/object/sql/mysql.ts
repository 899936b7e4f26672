/** Objects in MySQL or MariaDB: `(host:port)/db`, user and password from the keys of the setting. */

import type { Pool, PoolOptions, RowDataPacket } from 'mysql2/promise'
import { EINVAL } from '../../base/errno.ts'
import { Fault } from '../../base/fault.ts'
import type { ByteRange } from '../store.ts'
import type { BlobRow, BlobTable } from './store.ts'

const MAX_CONNECTIONS = 20
const CONNECT_MS = 10_000
const IDLE_MS = 300_000
const PORT = 3306

const ROW = "`key`, size, TIMESTAMPDIFF(SECOND, '1970-01-01', modified) AS sec"

export interface MysqlSetting {
  readonly bucket: string
  readonly accessKey?: string | undefined
  readonly secretKey?: string | undefined
}

export class MysqlBlobs implements BlobTable {
  readonly description: string
  readonly #pool: Pool

  private constructor(pool: Pool, description: string) {
    this.#pool = pool
    this.description = description
  }

  /** Does no I/O. */
  static async open(setting: MysqlSetting): Promise<MysqlBlobs> {
    const options = optionsOf(setting)
    const { createPool } = await import('mysql2/promise')
    const pool = createPool({
      ...options,
      connectionLimit: MAX_CONNECTIONS,
      maxIdle: MAX_CONNECTIONS,
      idleTimeout: IDLE_MS,
      connectTimeout: CONNECT_MS,
      enableKeepAlive: true,
    })
    const server = options.socketPath ?? `${options.host}:${options.port}`
    return new MysqlBlobs(pool, `mysql://${server}/${options.database}/`)
  }

  async prepare(): Promise<void> {
    await this.#pool.query(
      `CREATE TABLE IF NOT EXISTS jfs_blob (id BIGINT PRIMARY KEY AUTO_INCREMENT NOT NULL, \`key\` VARBINARY(255) NOT NULL,
        size BIGINT NOT NULL, modified DATETIME NOT NULL, data MEDIUMBLOB NULL, UNIQUE INDEX UQE_jfs_blob_blob (\`key\`))`,
    )
  }

  async read(key: Buffer, range: ByteRange | undefined): Promise<Buffer | null> {
    const data = range ? `SUBSTRING(data, ${range.offset + 1}, ${range.length})` : 'data'
    const [rows] = await this.#pool.execute<RowDataPacket[]>(`SELECT ${data} AS data FROM jfs_blob WHERE \`key\` = ?`, [
      key,
    ])
    const [row] = rows
    return row ? ((row.data as Buffer | null) ?? Buffer.alloc(0)) : null
  }

  async write(key: Buffer, data: Buffer): Promise<void> {
    await this.#pool.execute(
      `INSERT INTO jfs_blob (\`key\`, size, modified, data) VALUES (?, ?, UTC_TIMESTAMP(), ?)
       ON DUPLICATE KEY UPDATE size = VALUES(size), data = VALUES(data)`,
      [key, data.length, data],
    )
  }

  async remove(key: Buffer): Promise<void> {
    await this.#pool.execute('DELETE FROM jfs_blob WHERE `key` = ?', [key])
  }

  async describe(key: Buffer): Promise<BlobRow | null> {
    const [row] = await this.#rows(`SELECT ${ROW} FROM jfs_blob WHERE \`key\` = ?`, [key])
    return row ?? null
  }

  page(after: Buffer, from: Buffer, to: Buffer | null, limit: number): Promise<BlobRow[]> {
    const end = to ? 'AND `key` < ?' : ''
    const text = `SELECT ${ROW} FROM jfs_blob WHERE \`key\` > ? AND \`key\` >= ? ${end} ORDER BY \`key\` LIMIT ${limit}`
    return this.#rows(text, to ? [after, from, to] : [after, from])
  }

  async close(): Promise<void> {
    await this.#pool.end()
  }

  async #rows(text: string, values: Buffer[]): Promise<BlobRow[]> {
    const [rows] = await this.#pool.execute<RowDataPacket[]>(text, values)
    return rows.map(({ key, size, sec }) => ({ key: String(key), size: Number(size), mtimeMs: Number(sec) * 1000 }))
  }
}

/** `[mysql://][user[:password]@][tcp](host[:port])/db[?tls=…]`, or `unix(/path)`, as Go's driver writes it. */
function optionsOf({ bucket, accessKey, secretKey }: MysqlSetting): PoolOptions {
  const [, login = '', kind, address, database, query] =
    /^(?:mysql:\/\/)?(?:(.*)@)?(tcp|unix)?\((.*?)\)\/([^?]*)(?:\?(.*))?$/s.exec(bucket) ?? []
  if (!address || !database) {
    throw new Fault(`bucket ${bucket.replace(/^.*@/s, '')} is not (host:port)/db`, { errno: EINVAL })
  }
  const [user, password] = login.split(/:(.*)/s, 2)
  const [, host, port] = /^\[?(.*?)\]?(?::(\d+))?$/.exec(address)!
  const tls = new URLSearchParams(query).get('tls') ?? 'false'
  return {
    ...(kind === 'unix' ? { socketPath: address } : { host: host!, port: Number(port ?? PORT) }),
    user: accessKey || user || '',
    password: secretKey || password || '',
    database,
    ...(/^(true|skip-verify|preferred)$/.test(tls) && { ssl: { rejectUnauthorized: tls === 'true' } }),
  }
}
