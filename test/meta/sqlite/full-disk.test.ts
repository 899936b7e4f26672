/** A full disk: everybody in the transaction is told, nothing of it is there, and the engine goes on when there is room. */

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { ENOSPC } from '../../../src/base/errno.ts'
import type { Fault } from '../../../src/base/fault.ts'
import { ROOT_INO } from '../../../src/base/ino.ts'
import { SqliteEngine } from '../../../src/meta/engine/sqlite/engine.ts'
import { type Change, counter } from '../../../src/meta/facts.ts'
import { file, formatted, inoOf, read, write } from './harness.ts'

const skip = process.getuid?.() === 0 ? false : 'needs root to mount a small tmpfs'

describe('a full disk under the SQLite database', { skip }, () => {
  let dir: string
  let engine: SqliteEngine
  before(async () => {
    dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-full-'))
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', dir])
    engine = SqliteEngine.open(`sqlite3://${join(dir, 'volume.db')}`, {})
    await formatted(engine)
  })
  after(async () => {
    await engine?.close()
    execFileSync('umount', ['-l', dir])
    rmdirSync(dir)
  })

  const small = (n: number): Change[] => [
    { kind: 'setDentry', parent: ROOT_INO, name: `f${n}`, ino: inoOf(n), type: 1 },
    { kind: 'putNode', ino: inoOf(n), attr: file() },
    { kind: 'usage', space: 4096, inodes: 1 },
  ]
  const large = (n: number): Change[] => [
    ...small(n),
    { kind: 'putXattr', ino: inoOf(n), name: 'user.large', value: Buffer.alloc(65_536, n) },
  ]

  it('fails all operations of the transaction with ENOSPC, keeps none, and recovers', async () => {
    const ballast = join(dir, 'ballast')
    assert.throws(() => writeFileSync(ballast, Buffer.alloc(4 << 20)), { code: 'ENOSPC' })
    const results = await Promise.allSettled([write(engine, ...small(2)), write(engine, ...large(3))])
    for (const result of results) {
      assert.equal(result.status, 'rejected')
      assert.equal((result as PromiseRejectedResult & { reason: Fault }).reason.errno, ENOSPC)
    }
    const { rows } = await engine.scan('entries', { parent: ROOT_INO, attrs: false }, null, 10)
    assert.deepEqual(rows, [])
    assert.equal(await read(engine, counter('usedSpace')), 0)
    rmSync(ballast)
    const again = await Promise.all([write(engine, ...small(2)), write(engine, ...large(3))])
    assert.deepEqual(
      again.map(outcome => outcome.done),
      [true, true],
    )
    assert.equal(await read(engine, counter('usedSpace')), 8192)
  })
})
