/** What operations cost on the wire: requests counted by a proxy between the client and the server. */

import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { SystemClock } from '../../../src/base/clock.ts'
import { ENOENT, isErrno } from '../../../src/base/errno.ts'
import { type Ino, ROOT_INO, TRASH_INO } from '../../../src/base/ino.ts'
import { silentLog } from '../../../src/base/log.ts'
import { MetaClient } from '../../../src/meta/client.ts'
import { RedisEngine } from '../../../src/meta/engine/redis/engine.ts'
import type { Caller } from '../../../src/meta/model/caller.ts'
import { directory } from '../../conformance/engine/harness.ts'
import { TcpProxy } from '../../servers/proxy.ts'
import { RedisServer, redisSkip } from '../../servers/redis.ts'

const clock = new SystemClock()
const caller = (): Caller => ({ uid: 0, gid: 0, gids: [0], now: clock.now(), check: true })
const what = (type: number) => ({ type, mode: 0o755, umask: 0, rdev: 0, target: type === 3 ? 'x' : '' })

describe('round trips on Redis', { skip: redisSkip }, () => {
  let server: RedisServer
  let proxy: TcpProxy
  let meta: MetaClient
  before(async () => {
    server = await RedisServer.start()
    proxy = await TcpProxy.start(server.port)
    const engine = await RedisEngine.open(`redis://127.0.0.1:${proxy.port}/1`, { env: {} })
    const setting = { Name: 'trips', UUID: 'u', BlockSize: 4096, TrashDays: 1, DirStats: true }
    await engine.commit(
      [],
      [
        { kind: 'putFormat', json: JSON.stringify(setting) },
        { kind: 'putNode', ino: ROOT_INO, attr: directory({ mode: 0o777 }) },
        { kind: 'putNode', ino: TRASH_INO, attr: directory({ mode: 0o555 }) },
        { kind: 'newDirUsage', ino: ROOT_INO },
      ],
    )
    meta = await MetaClient.open(engine, {
      config: {
        readOnly: false,
        noBackgroundJobs: true,
        heartbeatMs: 0,
        skipDirMtimeNs: 0,
        atimeMode: 'noatime',
        openCacheLimit: 100,
        mountPoint: '',
        version: '1.0',
      },
      clock,
      log: silentLog,
      random: () => 0.5,
    })
    // The first of a kind costs more: scripts are told, ids fetched, the trash directory of the hour made.
    await done(meta.make(caller(), ROOT_INO, 'first', what(1)))
    await done(meta.unlink(caller(), ROOT_INO, 'first'))
    await meta.newSliceId()
  })
  after(async () => {
    await meta?.engine.close()
    await proxy?.stop()
    await server?.remove()
  })

  async function done<T>(result: T): Promise<Exclude<Awaited<T>, number>> {
    const value = await result
    assert.ok(!isErrno(value), `errno ${String(value)}`)
    return value as Exclude<Awaited<T>, number>
  }
  async function trips(work: () => unknown): Promise<number> {
    await sleep(5) // what was begun in the background
    const { requests } = proxy
    await work()
    return proxy.requests - requests
  }

  it('are one for what looks, and two at most for what changes', async () => {
    const file = await done(meta.make(caller(), ROOT_INO, 'file', what(1)))
    const dir = await done(meta.make(caller(), ROOT_INO, 'dir', what(2)))
    const id = await meta.newSliceId()
    const [c, root, now] = [caller(), ROOT_INO, clock.now()]
    const from = (parent: Ino, name: string) => ({ parent, name })
    const cases: readonly (readonly [what: string, most: number, work: () => unknown])[] = [
      ['lookup', 1, () => meta.lookup(c, root, 'file')],
      ['lookup of nothing', 1, async () => assert.equal(await meta.lookup(c, root, 'none'), ENOENT)],
      ['getattr', 1, () => meta.getattr(file.ino)],
      ['create', 2, () => meta.make(c, root, 'new', what(1))],
      ['mkdir', 2, () => meta.make(c, root, 'newdir', what(2))],
      ['symlink', 2, () => meta.make(c, root, 'newlink', what(3))],
      ['setattr', 2, () => meta.setattr(c, file.ino, { mode: 0o600 })],
      ['naming a slice', 2, () => meta.writeSlice(file.ino, 0, 0, { id, size: 9, off: 0, len: 9 }, now)],
      ['reading a chunk list', 1, () => meta.readChunk(file.ino, 0)],
      ['rename', 2, () => meta.rename(c, from(root, 'file'), from(dir.ino, 'moved'), 0)],
      ['link', 2, () => meta.link(c, file.ino, root, 'again')],
      ['unlink into the trash', 2, () => meta.unlink(c, root, 'new')],
      ['rmdir', 2, () => meta.rmdir(c, root, 'newdir')],
      ['listing with attributes', 1, () => meta.engine.scan('entries', { parent: root, attrs: true }, null, 256)],
    ]
    for (const [name, most, work] of cases) {
      const counted = await trips(() => done(work()))
      assert.ok(counted <= most, `${name}: ${counted}, not ${most}`)
    }
  })

  it('are one write for many requests of one turn', async () => {
    const before = proxy.requests
    await Promise.all(Array.from({ length: 50 }, () => meta.getattr(ROOT_INO)))
    assert.ok(proxy.requests - before <= 3, `${proxy.requests - before} writes`)
  })
})
