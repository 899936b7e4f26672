/** Statements that travel together: one write, one round trip, one transaction.
 *
 *      ─► Parse? Bind Execute · Parse? Bind Execute · … · Sync
 *      ◄─ rows … rows … CommandComplete · … · ReadyForQuery
 *
 *  Between two Syncs the server runs everything in one implicit transaction: it commits at the Sync, and after an error it
 *  skips what is left and rolls back. So BEGIN and COMMIT are not sent, and there is no block to clean up after an error.
 *  Under READ COMMITTED each statement has a snapshot of its own, which is what "lock first, check second" needs.
 *  (pg's own pipelining sends a Sync after every statement: twice the CPU, bench/postgres-flights.ts.)
 *
 *  The outcome is known at ReadyForQuery and not before: neither success nor failure is told earlier. */

import type { Duplex } from 'node:stream'

/** null, text, or bytes; text stands for every other type too */
export type Bound = string | Buffer | null

export interface Statement {
  /** of the prepared statement, one a text; '' = parsed each time */
  readonly name: string
  readonly text: string
  readonly values: readonly Bound[]
}

export interface Answer {
  /** columns as text */
  readonly rows: readonly (readonly (string | null)[])[]
}

/** The server's words. */
export interface ServerError extends Error {
  readonly code?: string
  readonly detail?: string
  readonly table?: string
  readonly constraint?: string
}

/** The part of pg's connection that a flight needs. */
export interface Wire {
  readonly stream: Duplex
  parse(message: { name: string; text: string; types?: readonly number[] }): void
  bind(message: { statement: string; values: readonly Bound[] }): void
  execute(message: object): void
  sync(): void
}

/** What pg's Client asks of a query that is not its own (its cursors are made the same way). */
export class Flight {
  readonly #statements: readonly Statement[]
  readonly #prepared: ReadonlySet<string>
  /** names that are being prepared, in the order of the server's answers */
  readonly parsing: string[] = []
  readonly answers: Answer[] = []
  error: ServerError | null = null
  readonly startedMs: number
  #rows: (readonly (string | null)[])[] = []

  /** `prepared`: the names that this connection knows already. */
  constructor(statements: readonly Statement[], prepared: ReadonlySet<string>, nowMs: number) {
    this.#statements = statements
    this.#prepared = prepared
    this.startedMs = nowMs
  }

  submit(connection: unknown): void {
    const wire = connection as Wire
    wire.stream.cork()
    try {
      for (const { name, text, values } of this.#statements) {
        if (name === '' || !(this.#prepared.has(name) || this.parsing.includes(name))) {
          wire.parse({ name, text })
          this.parsing.push(name)
        }
        wire.bind({ statement: name, values })
        wire.execute({})
      }
      wire.sync()
    } finally {
      wire.stream.uncork()
    }
  }

  handleDataRow(message: { fields: (string | null)[] }): void {
    this.#rows.push(message.fields)
  }

  handleCommandComplete(): void {
    this.answers.push({ rows: this.#rows })
    this.#rows = []
  }

  handleError(error: ServerError): void {
    this.error ??= error
  }

  handleEmptyQuery(): void {
    this.handleCommandComplete()
  }

  // The connection tells itself when it is ready (connection.ts); the rest is never asked for.
  handleReadyForQuery(): void {}
  handleRowDescription(): void {}
  handlePortalSuspended(): void {}
}
