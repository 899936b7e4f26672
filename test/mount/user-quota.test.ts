/** Quotas of users and groups, switched on while a mount serves the volume. */

import assert from 'node:assert/strict'
import { chmodSync, chownSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import Database from 'better-sqlite3'
import { EDQUOT } from '../../src/base/errno.ts'
import { cli, mountedVolume, mountSkip, type TestVolume } from './harness.ts'

describe('config --user-group-quota', { skip: mountSkip }, () => {
  let volume: TestVolume
  before(() => {
    volume = mountedVolume({ format: ['--trash-days', '0'], mount: ['--heartbeat', '1'] })
    chmodSync(volume.mountPoint, 0o777)
    writeFileSync(at('old'), 'x'.repeat(10_000))
    chownSync(at('old'), 4001, 4002)
  })
  after(() => volume.remove())

  const at = (name: string): string => join(volume.mountPoint, name)
  const config = (...args: string[]) => cli(['config', ...args, volume.metaUrl])
  const stat = (name: string): number | undefined => {
    const found = new RegExp(`^juicefs_${name} (-?\\d+)$`, 'm').exec(readFileSync(at('.stats'), 'utf8'))
    return found ? Number(found[1]) : undefined
  }
  async function until(what: string, isSo: () => boolean): Promise<void> {
    for (let waitedMs = 0; !isSo(); waitedMs += 50) {
      assert.ok(waitedMs < 10_000, what)
      await sleep(50)
    }
  }
  function sql(text: string): unknown[] {
    const db = new Database(join(volume.dir, 'meta.db'), { timeout: 5000 })
    try {
      const statement = db.prepare(text)
      return statement.reader ? statement.raw().all() : [statement.run().changes]
    } finally {
      db.close()
    }
  }

  it('counts what there is, and the running mount goes on counting', async () => {
    const ran = config('--user-group-quota')
    assert.equal(ran.status, 0, ran.stderr)
    assert.equal(ran.stdout, 'user-group-quota: false -> true\n')
    assert.match(ran.stderr, /<WARNING>: 1 clients are connected: what they change before their next heartbeat/)
    assert.match(ran.stderr, /<INFO>: Counted 1 inodes of 1 users and 1 groups/)
    const counted = sql('SELECT qtype, qkey, max_space, max_inodes, used_space, used_inodes FROM jfs_user_group_quota')
    assert.deepEqual(counted, [
      [1, 4001, -1, -1, 12288, 1],
      [2, 4002, -1, -1, 12288, 1],
    ])
    await until('the mount reads the quotas', () => stat('user_quota_used_inodes') !== undefined)
    chownSync(at('old'), 4001, 0)
    assert.deepEqual(sql('SELECT qtype, qkey, used_space FROM jfs_user_group_quota WHERE used_inodes > 0'), [
      [1, 4001, 12288],
      [2, 0, 12288],
    ])
  })

  it('refuses growth beyond a limit with EDQUOT, and goes on when it is lifted', async () => {
    sql('UPDATE jfs_user_group_quota SET max_space = 16384 WHERE qtype = 1 AND qkey = 4001')
    await until('the mount reads the limit', () => stat('user_quota_max_space_bytes') === 16384)
    assert.throws(() => writeFileSync(at('old'), 'x'.repeat(30_000)), { errno: -EDQUOT })
    const off = config('--user-group-quota=false')
    assert.equal(off.stdout, 'user-group-quota: true -> false\n')
    await until('the mount has let go', () => {
      try {
        writeFileSync(at('old'), 'x'.repeat(30_000))
        return true
      } catch {
        return false
      }
    })
  })
})
