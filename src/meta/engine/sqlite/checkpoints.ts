/** When to checkpoint. The WAL's length is not asked of the system but estimated: a transaction writes some pages whatever
 *  it does, and its changes share others (measured: 8 pages for one create, 30 for twenty in one transaction). */

import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { CheckpointReply, CheckpointRequest } from './checkpoint-worker.ts'

/** 16 MiB */
const PAGES_A_CHECKPOINT = 4096
/** a quiet volume's last changes reach the database file after this time */
const IDLE_MS = 60_000

export class Checkpoints {
  readonly #path: string
  readonly #log: (message: string) => void
  #worker: Worker | null = null
  #pages = 0
  #running = false
  #timer: NodeJS.Timeout | null = null

  constructor(path: string, log: (message: string) => void) {
    this.#path = path
    this.#log = log
  }

  /** Tells that a transaction with this many changes was committed. */
  count(changes: number): void {
    this.#pages += 4 + changes / 4
    if (this.#pages >= PAGES_A_CHECKPOINT) this.#start()
    else if (this.#timer === null) {
      this.#timer = setTimeout(() => {
        this.#timer = null
        this.#start()
      }, IDLE_MS)
      this.#timer.unref()
    }
  }

  /** Ends the worker. What is left in the WAL, SQLite moves when the last connection of all processes closes. */
  async close(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer)
    const worker = this.#worker
    this.#worker = null
    if (worker === null) return
    const exited = new Promise(resolve => worker.once('exit', resolve))
    worker.ref()
    worker.postMessage('close' satisfies CheckpointRequest)
    await exited
  }

  #start(): void {
    if (this.#running) return
    this.#running = true
    this.#pages = 0
    this.#worker ??= this.#startWorker()
    this.#worker.postMessage('checkpoint' satisfies CheckpointRequest)
  }

  #startWorker(): Worker {
    // Run as it stands the worker is a .ts file; built, a .js file.
    const file = new URL(`./checkpoint-worker${extname(import.meta.url)}`, import.meta.url)
    const worker = new Worker(file, { workerData: { path: this.#path } })
    worker.unref()
    worker.on('message', (reply: CheckpointReply) => {
      this.#running = false
      if (reply !== 'done') this.#log(`checkpoint of ${this.#path}: ${reply.error}`)
    })
    worker.on('error', error => {
      this.#log(`checkpoint of ${this.#path}: ${error.message}`)
      this.#worker = null // the next checkpoint starts another
      this.#running = false
    })
    return worker
  }
}
