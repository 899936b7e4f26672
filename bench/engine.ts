/** Metadata operations on the SQLite engine without a kernel between: one at a time, eight at a time, and the page size.
 *  Run: node bench/engine.ts [--count 20000] [--pages 1024,4096]. Prints operations a second, medians of three. */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Database from 'better-sqlite3'

import { SystemClock } from '../src/base/clock.ts'
import { type Errno, isErrno } from '../src/base/errno.ts'
import { ROOT_INO } from '../src/base/ino.ts'
import { silentLog } from '../src/base/log.ts'
import { MetaClient } from '../src/meta/client.ts'
import { Driver } from '../src/meta/driver.ts'
import { SqliteEngine } from '../src/meta/engine/sqlite/engine.ts'
import type { Cursor, DirEntry, Page } from '../src/meta/engine.ts'
import { initVolume } from '../src/meta/ops/init-volume.ts'
import { optionsOf } from './harness.ts'

const { count, pages } = optionsOf({ count: 20_000, pages: '1024,4096' })
const clock = new SystemClock()
const caller = { uid: 0, gid: 0, gids: [0], now: clock.now(), check: false }
const file = { type: 1, mode: 0o644, umask: 0, rdev: 0, target: '' }

async function rates(pageBytes: number): Promise<Record<string, number>> {
  const dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-bench-'))
  try {
    const path = join(dir, 'meta.db')
    const made = new Database(path)
    made.pragma(`page_size = ${pageBytes}`)
    made.exec('CREATE TABLE t(a); DROP TABLE t')
    made.close()
    const engine = SqliteEngine.open(`sqlite3://${path}`, {})
    await engine.prepare()
    const setting = JSON.stringify({ Name: 'bench', UUID: 'bench', BlockSize: 4096, TrashDays: 0, DirStats: true })
    await new Driver(engine, { random: Math.random, onEffect: () => undefined }).run('change', () =>
      initVolume(setting, { isNew: true, trash: false, now: clock.now() }),
    )
    const config = {
      readOnly: false,
      noBackgroundJobs: true,
      heartbeatMs: 0,
      skipDirMtimeNs: 1e8,
      atimeMode: 'noatime',
      openCacheLimit: 10_000,
      mountPoint: '',
      version: '0',
    } as const
    const meta = await MetaClient.open(engine, { clock, log: silentLog, random: Math.random, config })
    await meta.newSession()
    const timed = async (work: () => Promise<number>): Promise<number> => {
      const start = performance.now()
      const done = await work()
      return (done / (performance.now() - start)) * 1000
    }
    const each = async (step: (i: number) => unknown, together = 1): Promise<number> => {
      for (let i = 0; i < count; i += together) {
        if (together > 1) await Promise.all(Array.from({ length: together }, (_, k) => step(i + k)))
        else await step(i)
      }
      return count
    }
    const result = {
      create: await timed(() => each(i => meta.make(caller, ROOT_INO, `f${i}`, file))),
      'create, 8 at once': await timed(() => each(i => meta.make(caller, ROOT_INO, `g${i}`, file), 8)),
      lookup: await timed(async () => {
        for (let i = 0; i < count; i++)
          if (isErrno(await meta.lookup(caller, ROOT_INO, `f${i}`))) throw new Error('lost')
        return count
      }),
      list: await timed(async () => {
        let found = 0
        let cursor: Cursor | null = null
        do {
          const page: Page<DirEntry> | Errno = await meta.readdir(caller, ROOT_INO, cursor, 1000, true)
          if (isErrno(page)) throw new Error('cannot list')
          found += page.rows.length
          cursor = page.next
        } while (cursor !== null)
        return found
      }),
      unlink: await timed(() => each(i => meta.unlink(caller, ROOT_INO, `f${i}`))),
    }
    await meta.closeSession()
    await engine.close()
    return result
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

for (const pageBytes of pages.split(',').map(Number)) {
  const runs = [await rates(pageBytes), await rates(pageBytes), await rates(pageBytes)]
  console.log(`pages of ${pageBytes} bytes`)
  for (const name of Object.keys(runs[0]!)) {
    const median = runs.map(run => run[name]!).sort((a, b) => a - b)[1]!
    console.log(`  ${name.padEnd(18)} ${Math.round(median).toString().padStart(8)} /s`)
  }
}
