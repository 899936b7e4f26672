/** Broken connections: nothing is done twice, nothing that was answered is lost, and who cannot know says so. */

import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { EIO } from '../../../src/base/errno.ts'
import { Fault } from '../../../src/base/fault.ts'
import { NO_INO, ROOT_INO } from '../../../src/base/ino.ts'
import { checkVolume } from '../../../src/meta/check.ts'
import { Driver } from '../../../src/meta/driver.ts'
import type { RedisEngine } from '../../../src/meta/engine/redis/engine.ts'
import { type Change, chunk, dentry, node, type Operation } from '../../../src/meta/facts.ts'
import { make } from '../../../src/meta/ops/make.ts'
import { unlink } from '../../../src/meta/ops/unlink.ts'
import { writeSlice } from '../../../src/meta/ops/write-slice.ts'
import { directory, file, volumeWith } from '../../conformance/engine/harness.ts'
import { type Fate, TcpProxy } from '../../servers/proxy.ts'
import { redisSkip } from '../../servers/redis.ts'
import { guard, inoOf, Journal, read, World, write } from './harness.ts'

const now = { sec: 1_795_245_442, nsec: 123_456_789 }
const caller = { uid: 0, gid: 0, gids: [0], now, check: true }
const volume = volumeWith({ dirStats: false })
const forReal = { trash: NO_INO, isOpen: () => false, sid: 0 }
const FIVE = inoOf(5)
const rootNode: Change = { kind: 'putNode', ino: ROOT_INO, attr: directory({ mode: 0o777 }) }
const isCommit = (bytes: Buffer): boolean =>
  /\r\n(SETRANGE|SET|HSET|HDEL|RPUSH|EXEC)\r\n/.test(bytes.toString('latin1'))
const plain = { type: 1, mode: 0o644, umask: 0, rdev: 0, target: '' }

class Client {
  readonly engine: RedisEngine
  readonly #driver: Driver
  constructor(engine: RedisEngine) {
    this.engine = engine
    this.#driver = new Driver(engine, { random: () => 0.5, onEffect: () => undefined })
  }
  run<T>(operation: () => Operation<T>): Promise<T | number> {
    return Promise.resolve(this.#driver.run('change', operation)) as Promise<T | number>
  }
  create(name: string, ino: number) {
    return this.run(() => make(volume, caller, ROOT_INO, name, inoOf(ino), plain, { orExisting: false }))
  }
  remove(name: string) {
    return this.run(() => unlink(volume, caller, ROOT_INO, name, forReal))
  }
  append(ino: number, id: number, pos = 0) {
    return this.run(() => writeSlice(volume, now, inoOf(ino), 0, pos, { id, size: 100, off: 0, len: 100 }, now))
  }
}

for (const withoutScripts of [false, true]) {
  describe(`a connection to Redis that breaks, ${withoutScripts ? 'without' : 'with'} scripts`, {
    skip: redisSkip,
  }, () => {
    let world: World
    let proxy: TcpProxy
    let client: Client
    before(async () => {
      world = await World.start()
    })
    after(() => world?.remove())
    afterEach(async () => {
      await world.reset()
      await proxy.stop()
    })
    async function start(options = {}): Promise<RedisEngine> {
      proxy = await TcpProxy.start(world.server.port)
      const engine = await world.open({ withoutScripts, ...options }, `redis://127.0.0.1:${proxy.port}/3`)
      client = new Client(engine)
      await write(engine, rootNode, { kind: 'putFormat', json: '{"DirStats":false}' })
      await engine.allocate('nextInode', 1024)
      await engine.allocate('nextChunk', 1024)
      return engine
    }
    /** Once: the first commit that comes by. */
    function atNextCommit(fate: Fate): void {
      let isOver = false
      proxy.onRequest = bytes => {
        if (isOver || !isCommit(bytes)) return 'pass'
        isOver = true
        return fate
      }
    }

    it('before the first commit of all, which may need one of its own: the next one is made', async () => {
      await world.open().then(engine => write(engine, rootNode))
      proxy = await TcpProxy.start(world.server.port)
      const url = `redis://127.0.0.1:${proxy.port}/3`
      client = new Client(await world.open({ withoutScripts }, url))
      proxy.isDown = true // for new connections: the server has too many
      if (withoutScripts) await assert.rejects(client.create('f', 7))
      proxy.heal()
      assert.deepEqual(typeof (await client.create('f', 7)), 'object')
    })

    it('before a commit arrives: it is made once, after all', async () => {
      const engine = await start()
      atNextCommit('cut')
      assert.deepEqual(typeof (await client.create('f', 7)), 'object')
      atNextCommit('cut')
      assert.deepEqual(typeof (await client.append(7, 1)), 'object')
      assert.equal((await read(engine, chunk(inoOf(7), 0)))?.length, 24)
      atNextCommit('cut')
      assert.deepEqual(typeof (await client.remove('f')), 'object')
      assert.equal(await read(engine, dentry(ROOT_INO, 'f')), null)
      assert.deepEqual(await checkVolume(engine), [])
    })

    it('after a commit was made: its answer is found in the records, and it is not made again', async () => {
      const engine = await start()
      atNextCommit('drop')
      assert.deepEqual(typeof (await client.create('f', 7)), 'object')
      atNextCommit('drop')
      const written = await client.append(7, 1)
      assert.equal((written as { records: number }).records, 1)
      assert.equal((await read(engine, chunk(inoOf(7), 0)))?.length, 24)
      atNextCommit('drop')
      assert.deepEqual(typeof (await client.remove('f')), 'object')
      assert.equal(await read(engine, dentry(ROOT_INO, 'f')), null)
      assert.equal(await read(engine, { kind: 'counter', name: 'usedSpace' }), 0)
      assert.deepEqual(await checkVolume(engine), [])
    })

    it('while many commits are under way: each is made once', async () => {
      const engine = await start()
      let commits = 0
      proxy.onRequest = bytes => {
        if (!isCommit(bytes) || ++commits % 7 !== 0) return 'pass'
        return commits % 2 === 0 ? 'drop' : 'cut'
      }
      const created = []
      for (let round = 0; round < 8; round++) {
        const names = Array.from({ length: 10 }, (_, i) => round * 10 + i)
        created.push(...(await Promise.all(names.map(n => client.create(`f${n}`, 10 + n).catch(() => 'unknown')))))
      }
      proxy.onRequest = () => 'pass'
      const found = await Promise.all(created.map((_, n) => read(engine, dentry(ROOT_INO, `f${n}`))))
      for (const [n, result] of created.entries()) {
        if (typeof result === 'object') assert.equal(found[n]?.ino, 10 + n)
        else assert.equal(result, 'unknown')
      }
      assert.deepEqual(await checkVolume(engine), [])
    })

    it('with a commit that leaves no trace of its own: EIO, since nobody can know', async () => {
      const engine = await start()
      atNextCommit('drop')
      const usage: Change = { kind: 'refSlice', id: 9, size: 9, delta: 1 }
      proxy.onRequest = bytes => (/\r\nHINCRBY\r\n/.test(bytes.toString('latin1')) ? 'drop' : 'pass')
      await assert.rejects(write(engine, usage), (error: Fault) => {
        assert.equal(error.errno, EIO)
        assert.match(error.message, /whether the change was made is unknown/)
        return true
      })
      proxy.onRequest = () => 'pass'
      assert.equal(await read(engine, { kind: 'sliceRefs', id: 9, size: 9 }), 2)
    })

    it('and comes back: reads and changes that waited are answered', async () => {
      const engine = await start()
      await client.create('f', 7)
      proxy.isDown = true
      proxy.cut()
      const waiting = Promise.all([
        read(engine, node(inoOf(7))),
        client.create('g', 8),
        engine.allocate('nextTrash', 1),
      ])
      await sleep(300)
      proxy.heal()
      const [attr, made] = await waiting
      assert.equal(attr?.type, 1)
      assert.equal(typeof made, 'object')
    })

    it('and does not come back: requests fail when their patience ends, with address and reason', async () => {
      const engine = await start({ patienceMs: 400 })
      proxy.isDown = true
      proxy.cut()
      const refused = (request: Promise<unknown>): Promise<void> =>
        assert.rejects(request, (error: unknown) => {
          assert.ok(error instanceof Fault)
          assert.equal(error.errno, EIO)
          assert.match(error.message, /Redis at 127.0.0.1:\d+ could not be reached for 0 s/)
          return true
        })
      await Promise.all([refused(read(engine, node(ROOT_INO))), refused(client.create('g', 8))])
      proxy.heal()
      assert.equal((await read(engine, node(ROOT_INO)))?.type, 2)
    })

    it('a server that falls silent is left after the read time-out', async () => {
      proxy = await TcpProxy.start(world.server.port)
      const engine = await world.open({ withoutScripts }, `redis://127.0.0.1:${proxy.port}/3?read-timeout=200ms`)
      await write(engine, rootNode)
      let held = 0
      proxy.onReply = () => (held++ === 0 ? 'lose' : 'pass')
      assert.equal((await read(engine, node(ROOT_INO)))?.type, 2)
    })
  })
}

describe('a Redis that restarts', { skip: redisSkip }, () => {
  it('has everything that its append-only file has, and needs the scripts again', async () => {
    const world = await World.start({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] })
    try {
      const log = new Journal()
      const engine = await world.open({ log })
      assert.deepEqual(log.warnings, [])
      await write(engine, rootNode, { kind: 'putNode', ino: FIVE, attr: file() })
      await engine.sync()
      await world.server.stop()
      const waiting = read(engine, node(FIVE))
      await world.server.start()
      assert.deepEqual(await waiting, file())
      world.server.cli('SCRIPT', 'FLUSH')
      const seen = await guard(engine, 'exact', node(FIVE), dentry(ROOT_INO, 'f'))
      world.server.cli('SCRIPT', 'FLUSH')
      assert.equal((await engine.commit(seen, [{ kind: 'putNode', ino: FIVE, attr: file({ uid: 1 }) }])).done, true)
      assert.equal((await read(engine, node(FIVE)))?.uid, 1)
    } finally {
      await world.remove()
    }
  })

  it('waits with what comes while it loads or is busy', async () => {
    const world = await World.start({ args: ['--busy-reply-threshold', '20'] })
    try {
      const engine = await world.open()
      const raw = world.raw()
      await write(engine, rootNode)
      const busy = raw.eval(
        'local t = redis.call("TIME")[1] + 1 while tonumber(redis.call("TIME")[1]) <= t do end return 1',
        0,
      )
      await sleep(100)
      assert.equal((await read(engine, node(ROOT_INO)))?.type, 2)
      await busy
    } finally {
      await world.remove()
    }
  })
})

describe('a Redis that refuses', { skip: redisSkip }, () => {
  it('scripts: reads and commits go on by WATCH and MULTI, and the log says so once', async () => {
    const world = await World.start()
    try {
      world.server.cli('ACL', 'SETUSER', 'plain', 'on', '>x', '~*', '+@all', '-@scripting')
      const log = new Journal()
      const engine = await world.open({ log }, `redis://plain:x@127.0.0.1:${world.server.port}/3`)
      await write(engine, rootNode)
      const client = new Client(engine)
      const made = await Promise.all(Array.from({ length: 20 }, (_, i) => client.create(`f${i}`, 10 + i)))
      assert.ok(made.every(each => typeof each === 'object'))
      assert.equal((await read(engine, { kind: 'dentry', parent: ROOT_INO, name: 'f3' }))?.ino, 13)
      assert.equal(log.warnings.filter(line => /refuses scripts/.test(line)).length, 1)
    } finally {
      await world.remove()
    }
  })

  for (const withoutScripts of [false, true]) {
    it(`more memory: ENOSPC, and nothing of the commit is done, ${withoutScripts ? 'without' : 'with'} scripts`, () =>
      fills(withoutScripts))
  }

  async function fills(withoutScripts: boolean): Promise<void> {
    const world = await World.start()
    try {
      const engine = await world.open({ withoutScripts })
      await write(engine, rootNode)
      world.server.cli('CONFIG', 'SET', 'maxmemory', '1')
      await assert.rejects(write(engine, { kind: 'putNode', ino: FIVE, attr: file() }), (error: Fault) => {
        assert.equal(error.errno, 28)
        return true
      })
      world.server.cli('CONFIG', 'SET', 'maxmemory', '0')
      assert.equal(await read(engine, node(FIVE)), null)
    } finally {
      await world.remove()
    }
  }
})

describe('a commit on a connection that is gone', { skip: redisSkip }, () => {
  it('is not made by the server afterwards, when it was made anew on another', async () => {
    const world = await World.start()
    const proxy = await TcpProxy.start(world.server.port)
    try {
      const engine = await world.open({}, `redis://127.0.0.1:${proxy.port}/3`)
      const client = new Client(engine)
      await write(engine, rootNode)
      await client.create('f', 7)
      await client.append(7, 1)
      // The server holds scripts and writes back; the client's side of the connection goes meanwhile.
      world.server.cli('CLIENT', 'PAUSE', '600', 'WRITE')
      let isOver = false
      proxy.onRequest = bytes => {
        if (isOver || !/RPUSH/.test(bytes.toString('latin1'))) return 'pass'
        isOver = true
        return 'drop'
      }
      const seen = await readPlain(engine)
      const outcome = engine.commit(seen, [
        { kind: 'appendSlices', ino: inoOf(7), index: 0, records: record(2) },
        { kind: 'extendNode', ino: inoOf(7), length: 100, mtime: { sec: 7, nsec: 7 }, ctime: { sec: 8, nsec: 8 } },
      ])
      assert.deepEqual(await outcome, { done: false }, 'known not to have been made')
      assert.ok(isOver)
      await sleep(800)
      assert.equal((await read(engine, chunk(inoOf(7), 0)))?.length, 24, 'and not made later either')
    } finally {
      await proxy.stop()
      await world.remove()
    }
  })

  const record = (id: number): Buffer => {
    const bytes = Buffer.alloc(24)
    bytes.writeUInt32BE(id, 8)
    bytes.writeUInt32BE(100, 12)
    bytes.writeUInt32BE(100, 20)
    return bytes
  }
  /** One plain command: a paused server still answers it. */
  const readPlain = (engine: RedisEngine) => guard(engine, 'identity', node(inoOf(7)))
})
