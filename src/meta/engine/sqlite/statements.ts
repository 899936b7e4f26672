/** Prepared statements, each made when it is first used: a start-up that only reads the setting prepares one, and a
 *  database without tables can be opened. */

import type { Database, Statement } from 'better-sqlite3'
import type { Row } from '../sql/columns.ts'
import { columnsOf } from './schema.ts'

export type Bound = number | bigint | string | Buffer | null
type Rows = Statement<Bound[], Row>
type Run = Statement<Bound[]>

export class Statements {
  readonly #db: Database
  readonly prefix: string
  #nodeColumns: ReadonlySet<string> | undefined

  constructor(db: Database, prefix: string) {
    this.#db = db
    this.prefix = prefix
  }

  /** The full, quoted name of a table. */
  readonly table = (name: string): string => `\`${this.prefix}${name}\``

  /** Which columns of the node table this volume has (old ones lack the newest). */
  get nodeColumns(): ReadonlySet<string> {
    this.#nodeColumns ??= columnsOf(this.#db, `${this.prefix}node`)
    return this.#nodeColumns
  }

  /** A statement that answers with rows, as arrays. */
  rows(sql: string): Rows {
    return this.#db.prepare<Bound[], Row>(sql).raw()
  }

  /** A statement that only changes. */
  run(sql: string): Run {
    return this.#db.prepare<Bound[]>(sql)
  }
}

/** `make`, called when it is first needed. */
export function once<T>(make: () => T): () => T {
  let made: T | undefined
  return () => {
    if (made === undefined) made = make()
    return made
  }
}
