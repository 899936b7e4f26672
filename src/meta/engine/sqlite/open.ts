/** Opens the database file, or says in one line why not, before anything is changed.
 *
 *  The file is never opened by other means than SQLite: closing any descriptor of it would drop the POSIX locks that this
 *  process holds on it. What can be asked beforehand is asked by stat(2) and access(2). */

import { accessSync, constants, readFileSync, type Stats, statSync } from 'node:fs'
import { dirname } from 'node:path'
import Database from 'better-sqlite3'
import { EISDIR, ENOENT, ENOTDIR, errnoOf } from '../../../base/errno.ts'
import { Fault } from '../../../base/fault.ts'
import { faultOf } from './errors.ts'
import type { JournalMode } from './url.ts'

/** Only while opening, when nothing is served yet: how long another process may recover or change the journal mode. */
const OPEN_TIMEOUT_MS = 5000

export interface OpenOptions {
  readonly path: string
  readonly journalMode: JournalMode
  readonly readOnly: boolean
  readonly mustExist: boolean
}

/** Pages of a database that we make. A create touches about eight of them, and each goes whole into the write-ahead log:
 *  with 1 KiB a lone client makes 13,000 files a second, with SQLite's default of 4 KiB 7,000 (bench/engine.ts). Any size is
 *  read, and a database that exists keeps its own. */
const PAGE_BYTES = 1024

export function openDatabase(options: OpenOptions): Database.Database {
  const { path, readOnly } = options
  const doing = `open metadata database ${path}`
  const found = checkPath(options, doing)
  let db: Database.Database | undefined
  try {
    db = new Database(path, { readonly: readOnly, fileMustExist: found !== undefined, timeout: OPEN_TIMEOUT_MS })
    if (found === undefined || found.size === 0) db.pragma(`page_size = ${PAGE_BYTES}`)
    db.prepare('SELECT count(*) FROM sqlite_master').get() // reads the header and the first pages
    if (!readOnly) setJournal(db, options.journalMode)
    db.pragma('busy_timeout = 0')
    return db
  } catch (error) {
    db?.close()
    if (readOnly && found && isUnwritable(dirname(path)) && !hasWal(path, doing)) return loadIntoMemory(path, doing)
    throw faultOf(error, doing)
  }
}

/** Faults with the errno of what is wrong with the path; undefined where the file is to be created. */
function checkPath({ path, readOnly, mustExist }: OpenOptions, doing: string): Stats | undefined {
  const directory = statOrUndefined(dirname(path), doing)
  if (directory === undefined) throw new Fault(`${doing}: there is no directory ${dirname(path)}`, { errno: ENOENT })
  if (!directory.isDirectory()) throw new Fault(`${doing}: ${dirname(path)} is not a directory`, { errno: ENOTDIR })
  const found = statOrUndefined(path, doing)
  if (found?.isDirectory()) throw new Fault(`${doing}: it is a directory`, { errno: EISDIR })
  if (found === undefined && (mustExist || readOnly)) throw new Fault(`${doing}: no such file`, { errno: ENOENT })
  try {
    // The journal lives beside the database, so its directory must be writable too.
    if (!readOnly) accessSync(dirname(path), constants.W_OK)
    if (found) accessSync(path, readOnly ? constants.R_OK : constants.R_OK | constants.W_OK)
  } catch (error) {
    throw new Fault(doing, { errno: errnoOf(error), cause: error })
  }
  return found
}

function statOrUndefined(path: string, doing: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false })
  } catch (error) {
    throw new Fault(doing, { errno: errnoOf(error), cause: error })
  }
}

/** In WAL, a commit survives kill -9 and `sync()` makes it survive a power cut; elsewhere SQLite syncs every commit. */
function setJournal(db: Database.Database, wanted: JournalMode): void {
  const mode = String(db.pragma(`journal_mode = ${wanted}`, { simple: true })).toUpperCase()
  db.pragma(`synchronous = ${mode === 'WAL' ? 'NORMAL' : 'FULL'}`)
  db.pragma('wal_autocheckpoint = 0') // a checkpoint stalls for milliseconds: it runs on a worker (checkpoints.ts)
}

const isUnwritable = (directory: string): boolean => {
  try {
    accessSync(directory, constants.W_OK)
    return false
  } catch {
    return true
  }
}

/** Commits that are in the WAL only. */
const hasWal = (path: string, doing: string): boolean => (statOrUndefined(`${path}-wal`, doing)?.size ?? 0) > 0

/** A database in WAL mode on a read-only medium: SQLite cannot make the shared memory beside it that WAL needs. Nobody
 *  writes there, so a copy in memory is the database, with its header told that it has a rollback journal. */
function loadIntoMemory(path: string, doing: string): Database.Database {
  try {
    const bytes = readFileSync(path)
    bytes.fill(1, 18, 20) // file format versions: 2 = WAL, 1 = rollback journal
    const db = new Database(bytes, { readonly: true })
    db.prepare('SELECT count(*) FROM sqlite_master').get()
    return db
  } catch (error) {
    throw faultOf(error, doing)
  }
}
