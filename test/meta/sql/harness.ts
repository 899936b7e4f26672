/** A server a test file, a database a volume: what tests of the engines with an SQL server share. */

import { after, before } from 'node:test'
import { ROOT_INO } from '../../../src/base/ino.ts'
import type { Engine } from '../../../src/meta/engine.ts'
import { directory, write } from '../../conformance/engine/harness.ts'

interface Server {
  url(database: string): string
  newDatabase(): string
  stop(): Promise<void>
}

interface EngineOptions {
  readonly env?: Readonly<Record<string, string | undefined>>
}

export interface ServerKind<S extends Server, E extends Engine, O extends EngineOptions> {
  readonly skip: string | false
  readonly start: () => Promise<S>
  readonly open: (url: string, options: O | { readonly env: Record<string, never> }) => Promise<E>
}

/** Starts the server before the tests of this file, stops it afterwards, and closes what they opened. */
export class SqlTestServer<S extends Server, E extends Engine, O extends EngineOptions> {
  readonly #kind: ServerKind<S, E, O>
  readonly #closers: (() => Promise<void>)[] = []
  #server: S | undefined

  constructor(kind: ServerKind<S, E, O>) {
    this.#kind = kind
    before(async () => {
      if (!kind.skip) this.#server = await kind.start()
    })
    after(async () => {
      await Promise.all(this.#closers.map(close => close()))
      await this.#server?.stop()
    })
  }

  get server(): S {
    return this.#server!
  }

  /** Something that was opened on the server: it is closed before the server stops. */
  closeAfterwards(close: () => Promise<void>): void {
    this.#closers.push(close)
  }

  async open(database: string, { url, ...options }: Partial<O> & { readonly url?: string } = {}): Promise<E> {
    const engine = await this.#kind.open(url ?? this.server.url(database), { env: {}, ...options } as O)
    this.closeAfterwards(async () => engine.close())
    return engine
  }

  /** An engine on a database of its own, with a root directory. */
  async volume(options: Partial<O> = {}): Promise<{ engine: E; database: string }> {
    const database = this.server.newDatabase()
    const engine = await this.open(database, options)
    await engine.prepare()
    await write(
      engine,
      { kind: 'putFormat', json: '{"Name": "test"}' },
      { kind: 'putNode', ino: ROOT_INO, attr: directory({ mode: 0o777 }) },
    )
    return { engine, database }
  }
}
