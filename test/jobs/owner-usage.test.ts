import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ROOT_INO } from '../../src/base/ino.ts'
import { recountOwners } from '../../src/jobs/owner-usage.ts'
import type { MemoryEngine } from '../../src/meta/engine/memory.ts'
import { type Change, QUOTA_GROUP, QUOTA_USER, type QuotaType } from '../../src/meta/facts.ts'
import { systemCaller } from '../../src/meta/model/caller.ts'
import { close, create, ok, openVolume, pattern, ROOT, user, type Volume, write } from '../vfs/harness.ts'

/** `key: space inodes` of every record that is not empty, sorted. */
async function recorded(engine: MemoryEngine, type: QuotaType): Promise<string[]> {
  const { rows } = await engine.scan('quotas', { type }, null, 1000)
  return rows
    .filter(({ quota }) => quota.usedSpace !== 0 || quota.usedInodes !== 0)
    .map(({ key, quota }) => `${key}: ${quota.usedSpace} ${quota.usedInodes}`)
    .sort()
}

/** Something of everything that has an owner. */
async function live(v: Volume): Promise<void> {
  const now = () => systemCaller(v.clock.now())
  await ok(v.vfs.setattr(ROOT, ROOT_INO, { mode: 0o777 }, null))
  for (const uid of [10, 11, 12]) {
    const who = user(uid, uid + 10)
    const dir = await ok(v.vfs.mkdir(who, ROOT_INO, `home${uid}`, 0o755, 0))
    for (const name of ['a', 'b', 'c']) {
      const made = await ok(v.vfs.create(who, dir.ino, name, 0o100644, 0, 2))
      await write(v, made, 0, pattern(uid * 1000))
      await close(v, made)
    }
    await ok(v.vfs.symlink(who, dir.ino, 'link', 'a'))
    await ok(v.vfs.mknod(who, dir.ino, 'fifo', 0o010644, 0, 0))
    const a = await ok(v.vfs.lookup(who, dir.ino, 'a'))
    await ok(v.vfs.link(who, a.ino, dir.ino, 'again'))
    await ok(v.vfs.unlink(who, dir.ino, 'b'))
  }
  const home = await ok(v.vfs.lookup(ROOT, ROOT_INO, 'home10'))
  for (const name of ['a', 'link', 'fifo']) {
    const { ino } = await ok(v.vfs.lookup(ROOT, home.ino, name))
    await ok(v.vfs.setattr(ROOT, ino, { uid: 99, gid: 98 }, null))
  }
  await ok(v.vfs.setattr(ROOT, home.ino, { uid: 99 }, null))
  const open = await create(v, 'open')
  await write(v, open, 0, pattern(50_000))
  await ok(v.vfs.fsync(ROOT, open.ino, open.fh, false))
  await ok(v.meta.unlink(now(), ROOT_INO, 'open', { skipTrash: true }))
  await ok(v.meta.truncate(now(), (await ok(v.vfs.lookup(ROOT, home.ino, 'c'))).ino, 1, true))
}

describe('what users and groups use', () => {
  for (const trashDays of [0, 1]) {
    it(`is what the clients kept meanwhile, ${trashDays ? 'with' : 'without'} a trash`, async () => {
      const v = await openVolume({ userGroupQuota: true, trashDays })
      await live(v)
      const kept = [await recorded(v.engine, QUOTA_USER), await recorded(v.engine, QUOTA_GROUP)]
      await recountOwners(v.engine, Math.random)
      assert.deepEqual([await recorded(v.engine, QUOTA_USER), await recorded(v.engine, QUOTA_GROUP)], kept)
      assert.ok(kept[0]!.some(line => line.startsWith('99: ')))
      await v.close()
    })
  }

  it('replaces whatever was recorded before, limits too', async () => {
    const v = await openVolume({})
    const f = await ok(v.vfs.create(ROOT, ROOT_INO, 'f', 0o100644, 0, 2))
    await write(v, f, 0, pattern(5000))
    await close(v, f)
    const old = Array.from({ length: 1200 }, (_, key): Change => {
      const quota = { maxSpace: 1, maxInodes: 1, usedSpace: 77, usedInodes: 7 }
      return { kind: 'putQuota', type: QUOTA_USER, key, quota }
    })
    await v.engine.commit([], old)
    const counted = await recountOwners(v.engine, Math.random)
    assert.deepEqual(counted, { inodes: 1, users: 1, groups: 1 })
    const { rows } = await v.engine.scan('quotas', { type: QUOTA_USER }, null, 1000)
    const quota = { maxSpace: -1, maxInodes: -1, usedSpace: 8192, usedInodes: 1 }
    assert.deepEqual(rows, [{ key: 0, quota }])
    await v.close()
  })
})
