/** A volume that the reference wrote into Redis: every key is understood, and written again it is the same key by key. */

import assert from 'node:assert/strict'
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { Redis } from 'ioredis'
import { type Ino, inoFromString, isTrash, ROOT_INO, TRASH_INO } from '../../src/base/ino.ts'
import { checkVolume } from '../../src/meta/check.ts'
import { RedisEngine } from '../../src/meta/engine/redis/engine.ts'
import { type Change, type CounterName, QUOTA_DIR } from '../../src/meta/facts.ts'
import { TYPE_DIRECTORY, TYPE_SYMLINK } from '../../src/meta/model/attr.ts'
import { all, read } from '../meta/redis/harness.ts'
import { RedisServer, redisSkip } from '../servers/redis.ts'
import { goldenSkip, unpackGolden } from './volumes.ts'

describe('keys of a volume that JuiceFS wrote', { skip: redisSkip || goldenSkip }, () => {
  let server: RedisServer
  let engine: RedisEngine
  let raw: Redis
  let copied: Redis

  before(async () => {
    server = await RedisServer.start({
      prepare: dir => {
        unpackGolden(dir, 'redis/volume.rdb')
        copyFileSync(join(dir, 'redis', 'volume.rdb'), join(dir, 'dump.rdb'))
      },
    })
    engine = await RedisEngine.open(server.url(3), { env: {} })
    raw = new Redis({ port: server.port, db: 3, protocol: 2 })
    copied = new Redis({ port: server.port, db: 5, protocol: 2 })
  })
  after(async () => {
    engine?.close()
    raw?.disconnect()
    copied?.disconnect()
    await server?.remove()
  })

  it('are all named as the layout says, and are more than a thousand', async () => {
    const keys = await raw.keys('*')
    assert.ok(keys.length > 1000)
    const names =
      /^([idpsx]\d+|c\d+_\d+|setting|next(inode|chunk|session|Trash)|usedSpace|totalInodes|acl|aclMaxId|sliceRef|delSlices|delfiles|allSessions|sessionInfos|dir(DataLength|UsedSpace|UsedInodes|Quota|QuotaUsedSpace|QuotaUsedInodes)|last\w+|nextCleanupSlices|lock[fp]\d+|locked\d+)$/
    assert.deepEqual(
      keys.filter(key => !names.test(key)),
      [],
    )
  })

  it('hold a volume whose records agree', async () => {
    assert.deepEqual(await checkVolume(engine), [])
  })

  it('are the nodes, entries and chunks that scans and look-ups find, the trash included', async () => {
    const keys = await raw.keys('*')
    const count = (pattern: RegExp): number => keys.filter(key => pattern.test(key)).length
    const nodes = await all(engine, 'nodes', {})
    assert.equal(nodes.length, count(/^i\d+$/))
    assert.equal((await all(engine, 'chunks', { ino: null })).length, count(/^c\d+_\d+$/))
    assert.ok(nodes.some(({ ino }) => isTrash(ino) && ino !== TRASH_INO))
    let listed = 0
    for (const { ino, attr } of nodes.filter(node => node.attr.type === TYPE_DIRECTORY)) {
      const entries = await all(engine, 'entries', { parent: ino, attrs: true }, 7)
      listed += entries.length
      assert.equal(attr.type, TYPE_DIRECTORY)
      for (const { name, ino: child, attr: listedAttr } of entries) {
        const found = await read(engine, { kind: 'dentry', parent: ino, name })
        assert.deepEqual({ ino: found?.ino, attr: found?.attr }, { ino: child, attr: listedAttr })
      }
    }
    const sizes = await Promise.all(keys.filter(key => /^d\d+$/.test(key)).map(key => raw.hlen(key)))
    assert.equal(
      listed,
      sizes.reduce((sum, each) => sum + each, 0),
    )
  })

  it('are written again byte for byte from the facts that were read', async () => {
    const writer = await RedisEngine.open(server.url(5), { env: {} })
    try {
      for (const id of (await raw.hkeys('acl')).map(Number).sort((a, b) => a - b)) {
        const rule = (await read(engine, { kind: 'aclRule', id }))!
        assert.equal(await read(writer, { kind: 'aclId', rule }), id)
      }
      for (const change of await everything()) {
        assert.equal((await writer.commit([], [change])).done, true, JSON.stringify(change))
      }
    } finally {
      writer.close()
    }
    const keys = await raw.keys('*')
    assert.deepEqual((await copied.keys('*')).sort(), keys.sort())
    for (const key of keys) assert.deepEqual(await stored(copied, key), await stored(raw, key), key)
  })

  /** In an order that does not depend on how Redis keeps it. */
  async function stored(redis: Redis, key: string): Promise<unknown> {
    const ask = (name: string, ...args: string[]) => redis.callBuffer(name, key, ...args) as Promise<unknown>
    switch (await redis.type(key)) {
      case 'string':
        return ask('GET')
      case 'list':
        return ask('LRANGE', '0', '-1')
      case 'set':
        return ((await ask('SMEMBERS')) as Buffer[]).map(String).sort()
      case 'zset':
        return ((await ask('ZRANGE', '0', '-1', 'WITHSCORES')) as Buffer[]).map(String)
      default: {
        const flat = ((await ask('HGETALL')) as Buffer[]).map(each => each.toString('latin1'))
        return flat.flatMap((field, i) => (i % 2 === 0 ? [[field, flat[i + 1]]] : [])).sort()
      }
    }
  }

  /** The whole volume as changes. */
  async function everything(): Promise<Change[]> {
    const changes: Change[] = [{ kind: 'putFormat', json: (await read(engine, { kind: 'format' }))! }]
    const names: Record<string, CounterName> = {
      nextinode: 'nextInode',
      nextchunk: 'nextChunk',
      nextsession: 'nextSession',
    }
    for (const key of await raw.keys('*')) {
      if (!/^(next\w+|last\w+|usedSpace|totalInodes)$/.test(key)) continue
      const name = names[key] ?? (key as CounterName)
      changes.push({ kind: 'putCounter', name, value: await read(engine, { kind: 'counter', name }) })
    }
    const dirs = new Set<Ino>([ROOT_INO, TRASH_INO])
    for (const { ino, attr } of await all(engine, 'nodes', {})) {
      changes.push({ kind: 'putNode', ino, attr })
      if (attr.type === TYPE_DIRECTORY) dirs.add(ino)
      if (attr.type === TYPE_SYMLINK) {
        changes.push({ kind: 'putSymlink', ino, target: (await read(engine, { kind: 'symlink', ino }))! })
      }
      for (const name of await read(engine, { kind: 'xattrNames', ino })) {
        changes.push({ kind: 'putXattr', ino, name, value: (await read(engine, { kind: 'xattr', ino, name }))! })
      }
    }
    for (const key of await raw.keys('p*')) {
      // Counts of 0 stay where names have gone; facts leave them out.
      for (const [parent, count] of Object.entries(await raw.hgetall(key))) {
        const [ino, dir] = [inoFromString(key.slice(1))!, inoFromString(parent)!]
        changes.push({ kind: 'linkParent', ino, parent: dir, delta: Number(count) })
      }
    }
    for (const parent of dirs) {
      for (const { name, ino, type } of await all(engine, 'entries', { parent, attrs: false })) {
        changes.push({ kind: 'setDentry', parent, name, ino, type })
      }
    }
    for (const { ino, index, records } of await all(engine, 'chunks', { ino: null })) {
      changes.push({ kind: 'appendSlices', ino, index, records })
    }
    for (const { id, size, refs } of await all(engine, 'sliceRefs', {}))
      changes.push({ kind: 'refSlice', id, size, delta: refs - 1 })
    for (const each of await all(engine, 'trashedSlices', { before: 2 ** 40 }))
      changes.push({ kind: 'trashSlices', ...each })
    for (const each of await all(engine, 'deadFiles', { before: 2 ** 40 })) changes.push({ kind: 'deadFile', ...each })
    for (const { sid, expire, info } of await all(engine, 'sessions', {}))
      changes.push({ kind: 'putSession', sid, expire, info })
    for (const { ino, usage } of await all(engine, 'dirUsages', {})) changes.push({ kind: 'putDirUsage', ino, usage })
    for (const { key, quota } of await all(engine, 'quotas', { type: QUOTA_DIR })) {
      changes.push({ kind: 'putQuota', type: QUOTA_DIR, key, quota })
    }
    return changes
  }
})
