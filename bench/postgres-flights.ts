/** What a commit on PostgreSQL is made of: how its statements travel, and how it locks the directory.
 *
 *      node bench/postgres-flights.ts          starts a server of its own; no result is compared with another run
 */

import type { EventEmitter } from 'node:events'
import type { Client, Submittable } from 'pg'
import pg from 'pg'
import { Flight, type Statement } from '../src/meta/engine/postgres/flight.ts'
import { PostgresServer, postgresSkip } from '../test/servers/postgres.ts'

const ROUNDS = 3
const COMMITS = 2000
/** stands for the disk that a commit waits for */
const DISK_SEC = 0.002
const WRITERS = 16
const PHASE_MS = 3000

const LAYOUT = `CREATE TABLE node (inode bigint PRIMARY KEY, mode int, mtime bigint);
  CREATE TABLE edge (id bigserial PRIMARY KEY, parent bigint, name bytea, inode bigint);
  CREATE UNIQUE INDEX ON edge (parent, name); CREATE INDEX ON edge (inode);
  INSERT INTO node VALUES (1, 1, 1)`

/** A creation: look at the directory, make a node and its name, touch the directory. */
const TEXTS = {
  hold: `SELECT CASE WHEN count(*) = 1 THEN 1 ELSE concat($1::bigint)::int END
    FROM (SELECT 1 FROM node WHERE inode = $1::bigint AND mode = $2::int FOR UPDATE) AS held`,
  node: 'INSERT INTO node VALUES ($1::bigint, 1, 1)',
  edge: 'INSERT INTO edge (parent, name, inode) VALUES (1, $1::bytea, $2::bigint)',
  touch: 'UPDATE node SET mtime = mtime + 1 WHERE inode = $1::bigint',
} as const
let ino = 1
function creation(): Statement[] {
  const id = String(++ino)
  const values = { hold: ['1', '1'], node: [id], edge: [Buffer.from(`f${id}`), id], touch: ['1'] }
  return Object.entries(TEXTS).map(([name, text]) => ({ name, text, values: values[name as keyof typeof TEXTS] }))
}

async function oneSync(client: Client): Promise<() => Promise<void>> {
  const prepared = new Set<string>()
  const wire = (client as unknown as { connection: EventEmitter }).connection
  return () =>
    new Promise((resolve, reject) => {
      const flight = new Flight(creation(), prepared, 0)
      wire.once('readyForQuery', () => {
        for (const name of flight.parsing) prepared.add(name)
        if (flight.error === null) resolve()
        else reject(flight.error)
      })
      client.query(flight as Submittable)
    })
}

const syncEach = (client: Client) => async (): Promise<void> => {
  const statements = [
    { name: 'begin', text: 'BEGIN', values: [] },
    ...creation(),
    { name: 'commit', text: 'COMMIT', values: [] },
  ]
  await Promise.all(statements.map(({ name, text, values }) => client.query({ name, text, values: [...values] })))
}

async function measure(what: string, commit: () => Promise<void>): Promise<void> {
  for (let i = 0; i < 200; i++) await commit()
  const [start, cpu] = [performance.now(), process.cpuUsage()]
  for (let i = 0; i < COMMITS; i++) await commit()
  const { user, system } = process.cpuUsage(cpu)
  const wallUs = ((performance.now() - start) * 1000) / COMMITS
  console.log(
    `${what.padEnd(44)} ${wallUs.toFixed(0)} µs a commit, ${((user + system) / COMMITS).toFixed(0)} µs of our CPU`,
  )
}

/** Creations that all look at one directory, each waiting for the disk before it lets go. */
async function crowd(url: string, lock: 'SHARE' | 'UPDATE'): Promise<void> {
  const clients = await Promise.all(Array.from({ length: WRITERS }, async () => connect(url)))
  let count = 0
  const end = performance.now() + PHASE_MS
  await Promise.all(
    clients.map(async client => {
      while (performance.now() < end) {
        await client.query(
          `BEGIN; SELECT 1 FROM node WHERE inode = 1 FOR ${lock}; SELECT pg_sleep(${DISK_SEC}); COMMIT`,
        )
        count++
      }
    }),
  )
  await Promise.all(clients.map(client => client.end()))
  const rate = (count * 1000) / PHASE_MS
  console.log(`${WRITERS} creations in one directory, FOR ${lock.padEnd(6)}          ${rate.toFixed(0)} a second`)
}

async function connect(url: string, pipeline = false): Promise<Client> {
  const client = new pg.Client({ connectionString: url, pipeline } as pg.ClientConfig)
  await client.connect()
  return client
}

if (postgresSkip) throw new Error(postgresSkip)
const server = await PostgresServer.start()
try {
  const database = server.newDatabase()
  server.sql(LAYOUT, database)
  const url = server.url(database)
  for (let round = 0; round < ROUNDS; round++) {
    for (const [what, pipeline, make] of [
      ['one Sync, implicit transaction (flight.ts)', false, oneSync],
      ['pg pipelining, a Sync each, BEGIN … COMMIT', true, async (client: Client) => syncEach(client)],
    ] as const) {
      server.sql('TRUNCATE edge; DELETE FROM node WHERE inode > 1; VACUUM FULL node', database)
      const client = await connect(url, pipeline)
      await measure(what, await make(client))
      await client.end()
    }
  }
  for (const lock of ['UPDATE', 'SHARE'] as const) await crowd(url, lock)
} finally {
  await server.stop()
}
