/** What is wrong with a database gets one clear line with its address, a non-zero exit within seconds, and changes nothing. */

import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { silentLog } from '../../src/base/log.ts'
import { openEngine } from '../../src/cmd/volume.ts'
import type { Engine } from '../../src/meta/engine.ts'
import { cli, type Ran, refused } from '../mount/harness.ts'
import { MariadbServer, mariadbSkip } from '../servers/mariadb.ts'
import { PostgresServer, postgresSkip } from '../servers/postgres.ts'
import { RedisServer, redisSkip } from '../servers/redis.ts'

/** to connect, besides starting the program on a machine that has other things to do */
const TOLD_MS = 5000
const START_MS = 5000

/** One database server, and addresses that lead to what is wrong. */
interface Bad {
  readonly password: string
  /** of an empty database, by another port where one is given */
  readonly url: (port?: number) => string
  readonly wrongPassword: readonly [url: string, message: RegExp]
  readonly wrongDatabase: readonly [url: string, message: RegExp]
  /** address of a database with tables of somebody else; what it holds, to compare */
  readonly foreign: () => readonly [url: string, message: RegExp, content: () => string]
  stop(): Promise<void>
}

const KINDS: readonly { readonly name: string; readonly skip: string | false; readonly start: () => Promise<Bad> }[] = [
  {
    name: 'Redis',
    skip: redisSkip,
    start: async () => {
      const server = await RedisServer.start({ args: ['--requirepass', 'se-cret', '--databases', '8'] })
      const url = (port = server.port, password = 'se-cret', database = '1') =>
        `redis://:${password}@127.0.0.1:${port}/${database}`
      return {
        ...{ url, password: 'se-cret' },
        foreign: () => {
          const at = (...args: string[]) => server.cli('-a', 'se-cret', '--no-auth-warning', '-n', '2', ...args)
          at('RPUSH', 'setting', 'theirs')
          const content = () => `${at('KEYS', '*')} ${at('LRANGE', 'setting', '0', '-1')}`
          return [url(undefined, undefined, '2'), /a key in this database is another program's/, content]
        },
        wrongPassword: [url(undefined, 'wr-ong'), /127\.0\.0\.1:\d+: WRONGPASS/],
        wrongDatabase: [url(undefined, undefined, '99'), /DB index is out of range/],
        stop: () => server.remove(),
      }
    },
  },
  {
    name: 'PostgreSQL',
    skip: postgresSkip,
    start: async () => {
      const server = await PostgresServer.start()
      const database = server.newDatabase()
      return {
        password: 'secret',
        url: (port = server.port) => server.url(database).replace(`:${server.port}/`, `:${port}/`),
        wrongPassword: [
          server.url(database).replace(':secret@', ':wr-ong@'),
          /127\.0\.0\.1:\d+.*password authentication failed/,
        ],
        wrongDatabase: [server.url('nowhere'), /127\.0\.0\.1:\d+.*database "nowhere" does not exist/],
        foreign: () => {
          const other = server.newDatabase()
          server.sql("CREATE TABLE jfs_node (id int, name text); INSERT INTO jfs_node VALUES (1, 'theirs')", other)
          const content = () =>
            server.sql("SELECT * FROM jfs_node; SELECT tablename FROM pg_tables WHERE schemaname = 'public'", other)
          return [server.url(other), /table jfs_node .*is not a volume's/, content]
        },
        stop: () => server.stop(),
      }
    },
  },
  {
    name: 'MariaDB',
    skip: mariadbSkip,
    start: async () => {
      const server = await MariadbServer.start()
      const database = server.newDatabase()
      return {
        password: 'se cret',
        url: port => server.url(database, '', port),
        wrongPassword: [
          server.url(database).replace(/juicefs:[^(]*@\(/, 'juicefs:wr-ong@('),
          /127\.0\.0\.1:\d+.*Access denied for user 'juicefs'/,
        ],
        wrongDatabase: [server.url('test_nowhere'), /127\.0\.0\.1:\d+.*Unknown database 'test_nowhere'/],
        foreign: () => {
          const other = server.newDatabase()
          server.sql("CREATE TABLE jfs_node (id int, name text); INSERT INTO jfs_node VALUES (1, 'theirs')", other)
          return [
            server.url(other),
            /table jfs_node .*is not a volume's/,
            () => server.sql('SELECT * FROM jfs_node; SHOW TABLES', other),
          ]
        },
        stop: () => server.stop(),
      }
    },
  },
]

for (const { name, skip, start } of KINDS) {
  describe(`the command line and a bad ${name}`, { skip }, () => {
    let bad: Bad
    let dir: string
    before(async () => {
      bad = await start()
      dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-bad-'))
      mkdirSync(join(dir, 'mnt'))
    })
    after(async () => {
      await bad?.stop()
      if (dir) rmSync(dir, { recursive: true, force: true })
    })

    const status = (url: string): Ran => cli(['status', url])
    const format = (url: string, ...flags: string[]): Ran =>
      cli(['format', '--bucket', join(dir, 'bucket'), ...flags, url, 'vol'])
    const mount = (url: string): Ran =>
      cli(['mount', '-d', '--no-syslog', '--log', join(dir, 'log'), url, join(dir, 'mnt')])

    /** In one line and in time; no password, no stack. */
    function refusedInTime(run: () => Ran, message: RegExp): void {
      const startMs = performance.now()
      const ran = run()
      const tookMs = performance.now() - startMs
      refused(ran, message)
      const { stdout, stderr } = ran
      for (const secret of [bad.password, encodeURIComponent(bad.password), 'wr-ong']) {
        assert.ok(!stderr.includes(secret) && !stdout.includes(secret), 'no password is shown')
      }
      assert.ok(tookMs < TOLD_MS + START_MS, `took ${tookMs} ms`)
    }

    it('that is not there is told by address and reason, by every command', () => {
      const nobody = bad.url(1)
      for (const run of [status, format, mount]) refusedInTime(() => run(nobody), /127\.0\.0\.1:1\b.*ECONNREFUSED/)
    })

    it('that takes the connection and says nothing is given up within five seconds', async () => {
      // While this process waits for the program, the kernel takes the connection.
      const silent = createServer(() => undefined).listen(0, '127.0.0.1')
      try {
        await new Promise(resolve => silent.once('listening', resolve))
        const { port } = silent.address() as { port: number }
        refusedInTime(() => status(bad.url(port)), new RegExp(`127\\.0\\.0\\.1:${port}`))
      } finally {
        silent.close()
      }
    })

    it('with a wrong password, and without the database, says so', () => {
      for (const [url, message] of [bad.wrongPassword, bad.wrongDatabase]) {
        for (const run of [status, format]) refusedInTime(() => run(url), message)
      }
    })

    it('without a volume is not mounted, and nothing is made by looking', () => {
      refusedInTime(() => mount(bad.url()), /database is not formatted/)
      refusedInTime(() => status(bad.url()), /database is not formatted/)
    })

    it('with tables or keys of somebody else is refused by name, and left as it is', () => {
      const [url, message, content] = bad.foreign()
      const before = content()
      for (const run of [status, format, mount]) refusedInTime(() => run(url), message)
      assert.equal(content(), before)
    })

    it('with a volume of a newer client is refused by every command, and left as it is', async () => {
      assert.equal(format(bad.url()).status, 0)
      const engine: Engine = await openEngine(bad.url(), { log: silentLog })
      try {
        const stored = async (): Promise<string> => (await engine.gather([{ kind: 'format' }], 'look'))[0] as string
        const setting = JSON.parse(await stored()) as object
        const config = (url: string): Ran => cli(['config', '--trash-days', '3', '--yes', url])
        for (const [changed, message, commands] of [
          [{ MetaVersion: 7 }, /incompatible metadata version: 7/, [status, mount, config, format]],
          // What `config` says of versions is what it may be asked to change.
          [{ MinClientVersion: '99.0.0' }, /allowed minimum version: 99\.0\.0/, [status, mount]],
        ] as const) {
          const json = JSON.stringify({ ...setting, ...changed })
          await engine.commit([], [{ kind: 'putFormat', json }])
          for (const run of commands) refusedInTime(() => run(bad.url()), message)
          assert.equal(await stored(), json)
        }
      } finally {
        await engine.close()
      }
    })
  })
}

describe('the command line and a replica of Redis', { skip: redisSkip }, () => {
  it('is refused by name for everything that changes', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-bad-'))
    const master = await RedisServer.start()
    const replica = await RedisServer.start({ args: ['--replicaof', `127.0.0.1 ${master.port}`] })
    try {
      assert.equal(cli(['format', '--bucket', join(dir, 'bucket'), master.url(1), 'vol']).status, 0)
      for (let i = 0; i < 200 && !/master_link_status:up/.test(replica.cli('INFO', 'replication')); i++) {
        await new Promise(resolve => setTimeout(resolve, 50))
      }
      mkdirSync(join(dir, 'mnt'))
      for (const args of [
        ['format', '--bucket', join(dir, 'bucket'), replica.url(1), 'vol'],
        ['mount', '-d', '--no-syslog', '--log', join(dir, 'log'), replica.url(1), join(dir, 'mnt')],
        ['config', '--yes', '--trash-days', '3', replica.url(1)],
      ]) {
        const ran = cli(args)
        assert.equal(ran.status, 1)
        assert.match(ran.stderr, new RegExp(`127.0.0.1:${replica.port}.*read-only replica of 127.0.0.1:${master.port}`))
      }
    } finally {
      await replica.remove()
      await master.remove()
      rmSync(dir, { recursive: true, force: true })
    }
  })
})
