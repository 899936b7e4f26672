/** Databases as object stores, when they fall silent or have more to do than they can. */

import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { MysqlBlobs } from '../../src/object/sql/mysql.ts'
import { PostgresBlobs } from '../../src/object/sql/postgres.ts'
import { type BlobTable, MAX_CONNECTIONS, SqlStore } from '../../src/object/sql/store.ts'
import { MariadbServer, mariadbSkip, PASSWORD } from '../servers/mariadb.ts'
import { PostgresServer, postgresSkip } from '../servers/postgres.ts'
import { TcpProxy } from '../servers/proxy.ts'

const SILENCE_MS = 1000
const BLOCK = Buffer.alloc(4 << 20, 7)

interface Case {
  readonly name: string
  readonly skip: string | false
  start(): Promise<{
    readonly port: number
    open(port: number): Promise<SqlStore>
    stop(): Promise<void>
  }>
}

const CASES: readonly Case[] = [
  {
    name: 'MySQL',
    skip: mariadbSkip,
    async start() {
      const server = await MariadbServer.start()
      const database = server.newDatabase()
      const open = async (port: number): Promise<SqlStore> => {
        const bucket = `(127.0.0.1:${port})/${database}`
        return new SqlStore(await MysqlBlobs.open({ bucket, accessKey: 'juicefs', secretKey: PASSWORD }, SILENCE_MS))
      }
      return { port: server.port, open, stop: () => server.stop() }
    },
  },
  {
    name: 'PostgreSQL',
    skip: postgresSkip,
    async start() {
      const server = await PostgresServer.start()
      const database = server.newDatabase()
      const open = async (port: number): Promise<SqlStore> => {
        const bucket = `127.0.0.1:${port}/${database}?sslmode=disable`
        const setting = { bucket, accessKey: 'postgres', secretKey: 'secret' }
        return new SqlStore(await PostgresBlobs.open(setting, SILENCE_MS))
      }
      return { port: server.port, open, stop: () => server.stop() }
    },
  },
]

for (const each of CASES) {
  describe(`objects in ${each.name}`, { skip: each.skip }, () => {
    let server: Awaited<ReturnType<Case['start']>>
    before(async () => {
      server = await each.start()
    })
    after(() => server?.stop())

    it('every request to a server that has fallen silent fails, soon and with that reason', async () => {
      const proxy = await TcpProxy.start(server.port)
      const store = await server.open(proxy.port)
      try {
        await store.put('a', BLOCK)
        proxy.onRequest = () => 'lose'
        const start = performance.now()
        // one of them after the other, so that each finds the connection that the first one used
        await assert.rejects(store.put('b', BLOCK), error => /silent for 1000 ms/.test(String((error as Error).cause)))
        assert.ok(performance.now() - start < 5 * SILENCE_MS, `after ${performance.now() - start} ms`)
        proxy.onRequest = () => 'pass'
        assert.ok((await store.get('a')).equals(BLOCK))
        proxy.onReply = () => 'lose'
        await assert.rejects(store.get('a'), error => /silent for 1000 ms/.test(String((error as Error).cause)))
        proxy.onReply = () => 'pass'
        assert.ok((await store.get('a')).equals(BLOCK))
      } finally {
        await store.close()
        await proxy.stop()
      }
    })

    it('a slow answer is no silence', async () => {
      const proxy = await TcpProxy.start(server.port)
      const store = await server.open(proxy.port)
      try {
        await store.put('c', BLOCK)
        proxy.delayMs = SILENCE_MS / 5
        await store.put('c', BLOCK)
        assert.ok((await store.get('c')).equals(BLOCK))
        proxy.delayMs = 0
        const idleMs = SILENCE_MS * 1.5
        await sleep(idleMs)
        assert.equal((await store.head('c'))?.size, BLOCK.length)
      } finally {
        await store.close()
        await proxy.stop()
      }
    })
  })
}

describe('objects in a database', () => {
  it('are asked for by as many requests at a time as there are connections; the others wait, also after failures', async () => {
    let running = 0
    let most = 0
    const table: BlobTable = {
      description: 'test',
      prepare: async () => {},
      async describe(key) {
        most = Math.max(most, ++running)
        await sleep(2)
        running--
        if (key.toString() === 'bad') throw new Error('no')
        return { key: key.toString(), size: 1, mtimeMs: 0 }
      },
      read: async () => null,
      write: async () => {},
      remove: async () => {},
      page: async () => [],
      close: async () => {},
    }
    const store = new SqlStore(table)
    const asked = Array.from({ length: 100 }, (_, i) => store.head(i % 3 === 0 ? 'bad' : 'good'))
    const outcomes = await Promise.allSettled(asked)
    assert.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 66)
    assert.equal(most, MAX_CONNECTIONS)
    assert.equal((await store.head('good'))?.size, 1)
  })
})
