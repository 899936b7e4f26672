/** The thread that moves committed pages from the WAL into the database file: on a connection of its own, so that neither
 *  its reads, writes and fsyncs nor its locks stand in the way of the requests.
 *
 *  PASSIVE moves nearly everything and waits for nobody. But whoever writes all the time is always some frames ahead, and
 *  SQLite begins the WAL anew only when all of it has been moved: without a second step it grows without end (measured:
 *  1 GiB after 40,000 creates). RESTART takes the write lock, moves the last frames and lets the next writer begin anew;
 *  meanwhile writers find the database busy and come again after a millisecond. */

import { parentPort, workerData } from 'node:worker_threads'
import Database from 'better-sqlite3'

export type CheckpointRequest = 'checkpoint' | 'close'
export type CheckpointReply = 'done' | { readonly error: string }

/** how often the write lock is asked for, a millisecond apart; then the next checkpoint tries again */
const RESTART_ATTEMPTS = 50

const db = new Database((workerData as { path: string }).path, { fileMustExist: true, timeout: 0 })
// NORMAL syncs the WAL before pages are copied, and the database before the WAL may begin anew.
db.pragma('synchronous = NORMAL')
db.pragma('wal_autocheckpoint = 0')

parentPort!.on('message', (request: CheckpointRequest) => {
  if (request === 'close') {
    db.close()
    parentPort!.close()
    return
  }
  parentPort!.postMessage(checkpoint())
})

function checkpoint(): CheckpointReply {
  try {
    run('PASSIVE')
    run('PASSIVE') // what was written meanwhile, so that little is left to do under the lock
    const pause = new Int32Array(new SharedArrayBuffer(4))
    for (let n = 0; n < RESTART_ATTEMPTS && !run('RESTART'); n++) Atomics.wait(pause, 0, 0, 1)
    return 'done'
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) }
  }
}

/** Did it get the locks that it needs? */
function run(mode: 'PASSIVE' | 'RESTART'): boolean {
  const [row] = db.pragma(`wal_checkpoint(${mode})`) as { busy: number }[]
  return row?.busy === 0
}
