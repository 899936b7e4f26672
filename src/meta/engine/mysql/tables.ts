/** Names of tables, as they stand in statements. */

import type { MysqlUrl } from './url.ts'

export class Tables {
  readonly prefix: string
  /** columns of the node table that this volume has (old ones lack the newest) */
  nodeColumns: ReadonlySet<string> = new Set()

  constructor(url: Pick<MysqlUrl, 'tablePrefix'>) {
    this.prefix = url.tablePrefix
  }

  /** The full, quoted name of a table. */
  readonly name = (table: string): string => `\`${this.prefix}${table}\``
}
