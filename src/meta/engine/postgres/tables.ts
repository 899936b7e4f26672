/** Names of tables, as they stand in statements. */

import type { PostgresUrl } from './url.ts'

const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`

export class Tables {
  readonly prefix: string
  readonly #schema: string
  /** columns of the node table that this volume has (old ones lack the newest) */
  #nodeColumns: ReadonlySet<string> = new Set()
  /** counts up with `nodeColumns`: statements that name them have other names then */
  generation = 0

  constructor(url: Pick<PostgresUrl, 'schema' | 'tablePrefix'>) {
    this.prefix = url.tablePrefix
    this.#schema = url.schema === undefined ? '' : `${quoted(url.schema)}.`
  }

  get nodeColumns(): ReadonlySet<string> {
    return this.#nodeColumns
  }

  set nodeColumns(columns: ReadonlySet<string>) {
    this.#nodeColumns = columns
    this.generation++
  }

  /** The full, quoted name of a table, in the schema of the URL where it names one. */
  readonly name = (table: string): string => `${this.#schema}${quoted(this.prefix + table)}`
}
