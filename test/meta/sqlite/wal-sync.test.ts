import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { EIO } from '../../../src/base/errno.ts'
import { SqliteEngine } from '../../../src/meta/engine/sqlite/engine.ts'
import { WalSync } from '../../../src/meta/engine/sqlite/wal-sync.ts'

let dir: string
before(() => {
  dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-wal-'))
})
after(() => rmSync(dir, { recursive: true }))

describe('syncing the write-ahead log', () => {
  it('finds it also where the database is named by a symbolic link', async () => {
    for (const name of ['real', 'link']) mkdirSync(join(dir, name))
    writeFileSync(join(dir, 'real', 'volume.db'), '')
    symlinkSync(join(dir, 'real', 'volume.db'), join(dir, 'link', 'other.db'))
    const engine = SqliteEngine.open(`sqlite3://${join(dir, 'link', 'other.db')}`, {})
    await engine.prepare()
    assert.equal(typeof (await engine.allocate('nextInode', 10)), 'number')
    await engine.close()
  })

  it('a failure stays: what was written before it may be lost, so nothing after it can be promised', async () => {
    const database = join(dir, 'broken.db')
    writeFileSync(database, '')
    symlinkSync('/dev/null', `${database}-wal`) // fdatasync(2) of it is EINVAL
    const wal = new WalSync(database)
    const failures = await Promise.allSettled([wal.sync(), wal.sync(), wal.sync()])
    for (const failure of failures) {
      assert.equal((failure as PromiseRejectedResult).reason.errno, EIO)
      assert.match(
        (failure as PromiseRejectedResult).reason.message,
        /nothing can be made durable until the next mount/,
      )
    }
    await wal.close()
  })
})
