/** The thread of sqlite.ts. `workerData`: the path of the database. */

import { parentPort, workerData } from 'node:worker_threads'
import Database from 'better-sqlite3'
import type { SqliteCall, SqliteReply } from './sqlite.ts'
import type { BlobRow } from './store.ts'

const BUSY_MS = 5000

const ROW = 'key, size, unixepoch(modified) AS sec'
interface Row {
  readonly key: Buffer
  readonly size: number
  readonly sec: number | null
}

let opened: Database.Database | undefined

function open(): Database.Database {
  const database = new Database(workerData as string, { timeout: BUSY_MS })
  database.pragma('journal_mode = WAL')
  // What is put is there after a power cut.
  database.pragma('synchronous = FULL')
  database.exec(
    `CREATE TABLE IF NOT EXISTS jfs_blob (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, key BLOB NOT NULL, size INTEGER NOT NULL,
       modified DATETIME NOT NULL, data BLOB NULL);
     CREATE UNIQUE INDEX IF NOT EXISTS UQE_jfs_blob_blob ON jfs_blob (key)`,
  )
  return database
}

const rowOf = ({ key, size, sec }: Row): BlobRow => ({ key: key.toString(), size, mtimeMs: (sec ?? 0) * 1000 })

function answer(call: SqliteCall): unknown {
  opened ??= open()
  const prepare = (text: string): Database.Statement => opened!.prepare(text)
  switch (call.verb) {
    case 'prepare':
      return undefined
    case 'read': {
      const { key, range } = call
      const row = (
        range
          ? prepare('SELECT substr(data, ?, ?) AS data FROM jfs_blob WHERE key = ?').get(
              range.offset + 1,
              range.length,
              key,
            )
          : prepare('SELECT data FROM jfs_blob WHERE key = ?').get(key)
      ) as { data: Buffer | null } | undefined
      return row ? (row.data ?? Buffer.alloc(0)) : null
    }
    case 'write':
      prepare(
        `INSERT INTO jfs_blob (key, size, modified, data) VALUES (?, ?, datetime('now'), ?)
         ON CONFLICT (key) DO UPDATE SET size = excluded.size, data = excluded.data`,
      ).run(call.key, call.data.length, call.data)
      return undefined
    case 'remove':
      prepare('DELETE FROM jfs_blob WHERE key = ?').run(call.key)
      return undefined
    case 'describe': {
      const row = prepare(`SELECT ${ROW} FROM jfs_blob WHERE key = ?`).get(call.key) as Row | undefined
      return row ? rowOf(row) : null
    }
    case 'page': {
      const { after, from, to, limit } = call
      const end = to ? 'AND key < ?' : ''
      const text = `SELECT ${ROW} FROM jfs_blob WHERE key > ? AND key >= ? ${end} ORDER BY key LIMIT ?`
      return (prepare(text).all(after, from, ...(to ? [to] : []), limit) as Row[]).map(rowOf)
    }
  }
}

parentPort!.on('message', (call: SqliteCall) => {
  let reply: SqliteReply
  try {
    reply = { value: answer(call) }
  } catch (error) {
    reply = { error: error instanceof Error ? error.message : String(error) }
  }
  parentPort!.postMessage(reply)
})
