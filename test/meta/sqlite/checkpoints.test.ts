/** The WAL is moved into the database file beside the requests, and synced when somebody asks. */

import assert from 'node:assert/strict'
import { readdirSync, readlinkSync, statSync } from 'node:fs'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { ROOT_INO } from '../../../src/base/ino.ts'
import type { SqliteEngine } from '../../../src/meta/engine/sqlite/engine.ts'
import { type Change, node } from '../../../src/meta/facts.ts'
import { file, formatted, inoOf, read, Volume, write } from './harness.ts'

describe('the write-ahead log of the SQLite engine', () => {
  let volume: Volume
  let engine: SqliteEngine
  const log: string[] = []
  beforeEach(async () => {
    log.length = 0
    volume = new Volume()
    engine = volume.open({ log: message => log.push(message) })
    await formatted(engine)
  })
  afterEach(() => volume.remove())

  /** Each node is a transaction of its own. */
  async function writeMany(count: number, first: number): Promise<void> {
    for (let n = 0; n < count; n++) {
      const change: Change = { kind: 'putNode', ino: inoOf(first + n), attr: file() }
      await write(engine, change)
    }
  }

  it('is checkpointed while writing goes on, and begins anew instead of growing', async () => {
    const wal = () => statSync(`${volume.path}-wal`).size
    await writeMany(1100, 1000)
    const before = statSync(volume.path).size
    const one = wal()
    for (let round = 2; round < 6; round++) {
      await new Promise(resolve => setTimeout(resolve, 100))
      await writeMany(1100, 2000 * round)
    }
    assert.ok(statSync(volume.path).size > before, 'pages reached the database file')
    assert.ok(wal() < one * 3, `the WAL grew from ${one} to ${wal()} bytes`)
    assert.deepEqual(log, [])
    await engine.close()
    assert.deepEqual(readdirSync(volume.dir), ['volume.db'])
    const again = volume.open()
    assert.notEqual(await read(again, node(inoOf(2000 * 5 + 1099))), null)
  })

  it('is synced through a descriptor of its own, one for all who wait', async () => {
    await write(engine, { kind: 'putXattr', ino: ROOT_INO, name: 'user.a', value: Buffer.alloc(1) })
    await Promise.all(Array.from({ length: 20 }, () => engine.sync()))
    await engine.sync()
    const open = readdirSync('/proc/self/fd').flatMap(fd => {
      try {
        return [readlinkSync(`/proc/self/fd/${fd}`)]
      } catch {
        return [] // the descriptor of this listing
      }
    })
    assert.equal(open.filter(path => path === `${volume.path}-wal`).length, 2, "SQLite's and ours")
  })
})
