/** Clients in processes of their own: child processes that do what they are told, one command at a time, until they are ended or
 *  killed. The other end is worker.ts. */

import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { WorkOptions, WorkReport } from './work.ts'

const WORKER = fileURLToPath(new URL('./worker.ts', import.meta.url))

export interface Commands {
  /** opens the volume as several clients */
  join: { args: WorkOptions; result: { readonly sids: readonly number[] } }
  /** lets them work until `pause` */
  go: { args: null; result: null }
  /** returns when nobody does anything any more, and what was summed is written */
  pause: { args: null; result: WorkReport }
  /** sessions that are over, for whoever cleans up */
  mourn: { args: readonly number[]; result: null }
  /** unmounts */
  leave: { args: null; result: WorkReport }
}
export type Command = keyof Commands

export interface Request {
  readonly id: number
  readonly command: Command
  readonly args: unknown
}
export interface Reply {
  readonly id: number
  readonly result?: unknown
  readonly error?: string
}

export class WorkerProcess {
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, { resolve: (result: unknown) => void; reject: (error: Error) => void }>()
  #nextId = 0
  #isKilled = false
  /** of its clients */
  sids: readonly number[] = []

  constructor() {
    this.#child = fork(WORKER, [], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    const kill = (): void => this.kill()
    process.once('exit', kill)
    this.#child.on('message', message => this.#answered(message as Reply))
    this.#child.once('exit', (code, signal) => {
      process.off('exit', kill)
      const error = new Error(`a client process ended with ${code ?? signal}`)
      for (const { resolve, reject } of this.#waiting.values()) {
        if (this.#isKilled) resolve(null)
        else reject(error)
      }
      this.#waiting.clear()
    })
  }

  get isKilled(): boolean {
    return this.#isKilled
  }

  async tell<C extends Command>(command: C, args: Commands[C]['args']): Promise<Commands[C]['result']> {
    const id = this.#nextId++
    const answer = new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }))
    this.#child.send({ id, command, args } satisfies Request)
    return (await answer) as Commands[C]['result']
  }

  async join(options: WorkOptions): Promise<void> {
    this.sids = (await this.tell('join', options)).sids
  }

  /** As `kill -9` does it: in the middle of whatever it is doing. */
  kill(): void {
    this.#isKilled = true
    this.#child.kill('SIGKILL')
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const ended = new Promise(resolve => this.#child.once('exit', resolve))
    this.#isKilled = true
    this.#child.disconnect()
    await ended
  }

  #answered({ id, result, error }: Reply): void {
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    if (error === undefined) waiting?.resolve(result)
    else waiting?.reject(new Error(error))
  }
}
