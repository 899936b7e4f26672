/** Objects in MySQL or MariaDB: `(host:port)/db`, user and password from the keys of the setting. */

import type { Socket } from 'node:net'
import type { Pool, PoolOptions, ResultSetHeader, RowDataPacket } from 'mysql2/promise'
import { EINVAL } from '../../base/errno.ts'
import { Fault } from '../../base/fault.ts'
import type { ByteRange } from '../store.ts'
import { SILENCE_MS, whileHeard } from './silence.ts'
import { type BlobRow, type BlobTable, MAX_CONNECTIONS } from './store.ts'

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
  readonly #silenceMs: number

  private constructor(pool: Pool, description: string, silenceMs: number) {
    this.#pool = pool
    this.description = description
    this.#silenceMs = silenceMs
  }

  /** Does no I/O. */
  static async open(setting: MysqlSetting, silenceMs: number = SILENCE_MS): Promise<MysqlBlobs> {
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
    return new MysqlBlobs(pool, `mysql://${server}/${options.database}/`, silenceMs)
  }

  async prepare(): Promise<void> {
    await this.#execute(
      `CREATE TABLE IF NOT EXISTS jfs_blob (id BIGINT PRIMARY KEY AUTO_INCREMENT NOT NULL, \`key\` VARBINARY(255) NOT NULL,
        size BIGINT NOT NULL, modified DATETIME NOT NULL, data MEDIUMBLOB NULL, UNIQUE INDEX UQE_jfs_blob_blob (\`key\`))`,
      [],
    )
  }

  async read(key: Buffer, range: ByteRange | undefined): Promise<Buffer | null> {
    const data = range ? `SUBSTRING(data, ${range.offset + 1}, ${range.length})` : 'data'
    const text = `SELECT ${data} AS data FROM jfs_blob WHERE \`key\` = ?`
    const [row] = await this.#execute<RowDataPacket[]>(text, [key])
    return row ? ((row.data as Buffer | null) ?? Buffer.alloc(0)) : null
  }

  async write(key: Buffer, data: Buffer): Promise<void> {
    await this.#execute(
      `INSERT INTO jfs_blob (\`key\`, size, modified, data) VALUES (?, ?, UTC_TIMESTAMP(), ?)
       ON DUPLICATE KEY UPDATE size = VALUES(size), data = VALUES(data)`,
      [key, data.length, data],
    )
  }

  async remove(key: Buffer): Promise<void> {
    await this.#execute('DELETE FROM jfs_blob WHERE `key` = ?', [key])
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
    const rows = await this.#execute<RowDataPacket[]>(text, values)
    return rows.map(({ key, size, sec }) => ({ key: String(key), size: Number(size), mtimeMs: Number(sec) * 1000 }))
  }

  async #execute<R extends RowDataPacket[] | ResultSetHeader>(text: string, values: (Buffer | number)[]): Promise<R> {
    const connection = await this.#pool.getConnection()
    try {
      // its socket, which is another one once it speaks TLS, is not in the types
      const { stream } = connection.connection as unknown as { readonly stream: Socket }
      const [result] = await whileHeard(stream, this.#silenceMs, () => connection.execute<R>(text, values))
      return result
    } finally {
      connection.release()
    }
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
