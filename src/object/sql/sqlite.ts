/** Objects in a file of SQLite. The database works on a thread of its own: a block of 4 MiB takes it some milliseconds, in which no
 *  request of the kernel would be answered. */

import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import { Fault } from '../../base/fault.ts'
import type { ByteRange } from '../store.ts'
import type { BlobRow, BlobTable } from './store.ts'

/** One call of the thread, in the order of the calls. */
export type SqliteCall =
  | { readonly verb: 'prepare' }
  | { readonly verb: 'read'; readonly key: Uint8Array; readonly range: ByteRange | undefined }
  | { readonly verb: 'write'; readonly key: Uint8Array; readonly data: Uint8Array }
  | { readonly verb: 'remove' | 'describe'; readonly key: Uint8Array }
  | {
      readonly verb: 'page'
      readonly after: Uint8Array
      readonly from: Uint8Array
      readonly to: Uint8Array | null
      readonly limit: number
    }
export type SqliteReply = { readonly value: unknown } | { readonly error: string }

interface Waiting {
  readonly resolve: (value: unknown) => void
  readonly reject: (error: Fault) => void
}

export class SqliteBlobs implements BlobTable {
  readonly description: string
  readonly #worker: Worker
  readonly #waiting: Waiting[] = []
  #ended: string | null = null

  /** `path` is made where there is none, at the first request. */
  constructor(path: string) {
    this.description = `sqlite3://${path}/`
    const script = new URL(`./sqlite-worker${extname(import.meta.filename)}`, import.meta.url)
    this.#worker = new Worker(script, { workerData: path })
    this.#worker.unref()
    this.#worker.on('message', (reply: SqliteReply) => this.#answer(reply))
    this.#worker.on('error', error => this.#end(error.message))
    this.#worker.on('exit', () => this.#end('it is closed'))
  }

  prepare(): Promise<void> {
    return this.#call({ verb: 'prepare' })
  }
  async read(key: Buffer, range: ByteRange | undefined): Promise<Buffer | null> {
    const bytes = await this.#call<Uint8Array | null>({ verb: 'read', key, range })
    return bytes && Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }
  write(key: Buffer, data: Buffer): Promise<void> {
    return this.#call({ verb: 'write', key, data })
  }
  remove(key: Buffer): Promise<void> {
    return this.#call({ verb: 'remove', key })
  }
  describe(key: Buffer): Promise<BlobRow | null> {
    return this.#call({ verb: 'describe', key })
  }
  page(after: Buffer, from: Buffer, to: Buffer | null, limit: number): Promise<BlobRow[]> {
    return this.#call({ verb: 'page', after, from, to, limit })
  }

  async close(): Promise<void> {
    await this.#worker.terminate()
  }

  /** The bytes are copied before this returns. */
  #call<T>(call: SqliteCall): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#ended !== null) return reject(new Fault(`${this.description}: ${this.#ended}`))
      this.#waiting.push({ resolve: resolve as (value: unknown) => void, reject })
      this.#worker.ref()
      this.#worker.postMessage(call)
    })
  }

  #answer(reply: SqliteReply): void {
    const waiting = this.#waiting.shift()!
    if (this.#waiting.length === 0) this.#worker.unref()
    if ('error' in reply) waiting.reject(new Fault(reply.error))
    else waiting.resolve(reply.value)
  }

  #end(why: string): void {
    this.#ended ??= why
    for (const { reject } of this.#waiting.splice(0)) reject(new Fault(`${this.description}: ${why}`))
  }
}
