/** The thread that moves committed pages from the WAL into the database file: on a connection of its own, so that neither
 *  its reads, writes and fsyncs nor its locks stand in the way of the requests. PASSIVE waits for nobody. */

import { parentPort, workerData } from 'node:worker_threads'
import Database from 'better-sqlite3'

export type CheckpointRequest = 'checkpoint' | 'close'
/** `left`: frames that could not be moved yet because somebody reads them */
export type CheckpointReply = { readonly left: number } | { readonly error: string }

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
    const [row] = db.pragma('wal_checkpoint(PASSIVE)') as { log: number; checkpointed: number }[]
    return { left: row === undefined ? 0 : row.log - row.checkpointed }
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) }
  }
}
