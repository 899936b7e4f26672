/** `sqlite3://path[?options]`, as JuiceFS writes it (spec meta-sql section 1). Everything between the scheme and the first
 *  `?` is the path, as it stands: nothing is percent-decoded. `sqlite3:///abs/volume.db` is absolute. */

import { EINVAL } from '../../../base/errno.ts'
import { Fault } from '../../../base/fault.ts'
import { tablePrefix } from '../sql/schema.ts'

export type JournalMode = 'WAL' | 'DELETE' | 'TRUNCATE' | 'PERSIST'

export interface SqliteUrl {
  readonly path: string
  /** what every table's name begins with: `jfs_`, or `jfs_X_` for `table_prefix=X` */
  readonly tablePrefix: string
  readonly journalMode: JournalMode
}

const SCHEME = 'sqlite3://'
const JOURNAL_MODES: readonly string[] = ['WAL', 'DELETE', 'TRUNCATE', 'PERSIST']

/** Options that only steer the reference client's driver (`cache`, `_timeout`, `max_open_conns`, …) are accepted and have no
 *  effect. Faults (EINVAL): another scheme, no path, a journal mode under which a crash would damage the database. */
export function parseSqliteUrl(url: string): SqliteUrl {
  if (!url.startsWith(SCHEME)) throw invalid(`${url}: not a ${SCHEME} address`)
  const rest = url.slice(SCHEME.length)
  const mark = rest.indexOf('?')
  const path = mark < 0 ? rest : rest.slice(0, mark)
  const options = new URLSearchParams(mark < 0 ? '' : rest.slice(mark + 1))
  if (path === '') throw invalid(`${url}: the path of the database file is missing`)
  const prefix = options.get('table_prefix') ?? ''
  if (!/^[\w-]*$/.test(prefix)) throw invalid(`table_prefix ${prefix}: only letters, digits, - and _ are possible`)
  const mode = (options.get('_journal_mode') ?? options.get('_journal') ?? 'WAL').toUpperCase()
  if (!JOURNAL_MODES.includes(mode)) throw invalid(`journal mode ${mode}: must be one of ${JOURNAL_MODES.join(', ')}`)
  return { path, tablePrefix: tablePrefix(prefix), journalMode: mode as JournalMode }
}

const invalid = (what: string): Fault => new Fault(what, { errno: EINVAL })
