/** Many clients in several processes on one volume of every engine, as fast as they can; nobody schedules them but the machine.
 *  SIM_SECONDS=60 for a long run; SEED=… draws the same deeds again (their order is the machine's). */

import assert from 'node:assert/strict'
import { after, before, describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { silentLog } from '../../src/base/log.ts'
import { openEngine } from '../../src/cmd/volume.ts'
import { checkVolume } from '../../src/meta/check.ts'
import type { Engine } from '../../src/meta/engine.ts'
import { decodeRecords } from '../../src/meta/model/slice.ts'
import { rowsOf } from '../../src/meta/scan.ts'
import { allEngines, type EngineServer, isAboutUsage, SUMS_IN_CLIENT } from '../servers/engines.ts'
import { background } from './background.ts'
import { Client } from './client.ts'
import { formatCrowded, lookAtCrowd } from './crowd-check.ts'
import { WorkerProcess } from './processes.ts'
import { hastyClock, realTurns } from './race-work.ts'
import { Random, seedOf } from './random.ts'
import type { WorkOptions, WorkReport } from './work.ts'
import { World } from './world.ts'

const seconds = Number(process.env.SIM_SECONDS ?? 2)
const PROCESSES = 4
/** of those in one directory, all processes together */
const CROWD = 16
/** A killed client's last request may still be under way to the server. */
const LAST_WORDS_MS = 300
/** Nobody waits for longer in a crowd, on a machine that has other things to do. */
const SLOWEST_MS = 30_000

/** processes without a volume */
const idle: WorkerProcess[] = []
after(() => Promise.all(idle.map(worker => worker.end())))

for (const { kind, skip, start } of allEngines) {
  describe(`clients in several processes on ${kind}`, { skip }, () => {
    let server: EngineServer
    before(async () => {
      server = await start()
    })
    after(() => server?.stop())

    /** Runs `body` with so many processes that have joined the volume. Those that leave it serve the next one. */
    async function withClients(
      options: Omit<WorkOptions, 'clients' | 'firstId'> & { readonly clientsEach: number },
      body: (crew: WorkerProcess[], join: () => Promise<WorkerProcess>) => Promise<void>,
    ): Promise<void> {
      const { clientsEach, ...rest } = options
      let joined = 0
      const all: WorkerProcess[] = []
      const join = async (): Promise<WorkerProcess> => {
        const worker = idle.pop() ?? new WorkerProcess()
        all.push(worker)
        const [firstId, seed] = [joined++ * clientsEach, rest.seed + joined]
        await worker.join({ ...rest, seed, clients: clientsEach, firstId })
        return worker
      }
      let isOver = false
      try {
        await body(await Promise.all(Array.from({ length: PROCESSES }, join)), join)
        isOver = true
      } finally {
        if (isOver) idle.push(...all.filter(worker => !worker.isKilled))
        else await Promise.all(all.map(worker => worker.end()))
      }
    }

    for (const quota of [false, true]) {
      it(`who do everything${quota ? ' under a directory quota' : ', one killed in the middle,'} leave records that agree`, async t => {
        const seed = seedOf()
        t.diagnostic(`SEED=${seed}`)
        const url = server.newDatabase()()
        const engine = await openEngine(url, { log: silentLog })
        try {
          await engine.prepare()
          const startedMs = Date.now()
          const options = { quota, trash: true, nowSec: hastyClock(startedMs) }
          const world = new World(engine, new Random(seed), options)
          await world.format()
          const join = { work: 'race', url, seed, startedMs, faults: false, quota, directory: world.top } as const
          const deleted = new Set<number>()
          const look = async (reports: readonly WorkReport[], exact = true): Promise<void> => {
            for (const report of reports) for (const id of report.deleted) deleted.add(id)
            const wrong = [
              ...(await checkVolume(engine)),
              ...(await world.wrongOwners()),
              ...(await gone(engine, deleted)),
            ]
            assert.deepEqual(exact ? wrong : wrong.filter(line => !isAboutUsage(line)), [], `SEED=${seed}`)
          }
          await withClients({ ...join, clientsEach: 2 }, async (crew, another) => {
            for (const part of [0.3, 0.7]) {
              await everybody(crew, 'go')
              await sleep(seconds * 1000 * part * (quota ? 0.5 : 1))
              await look(await everybody(crew, 'pause'))
            }
            if (!quota) {
              await everybody(crew, 'go')
              await sleep(seconds * 200)
              const [victim] = crew.splice(0, 1)
              victim!.kill()
              await sleep(LAST_WORDS_MS)
              for (const worker of crew) await worker.tell('mourn', victim!.sids)
              crew.push(await another())
              await crew.at(-1)!.tell('go', null)
              await sleep(seconds * 200)
              world.stale.clear()
              for (const sid of victim!.sids) world.stale.add(sid)
              await look(await everybody(crew, 'pause'), !SUMS_IN_CLIENT.has(kind))
            }
            const reports = await everybody(crew, 'leave')
            tell(t, reports)
            assert.ok(Math.min(...reports.flatMap(report => report.deeds)) > 0, 'everybody did something')
            await tidyUp(world, engine)
            await look(reports, quota || !SUMS_IN_CLIENT.has(kind))
          })
        } finally {
          await engine.close()
        }
      })
    }

    it(`${CROWD} of them in one directory are told no lie, none starves, and its entries and counts are exact`, async t => {
      const seed = seedOf()
      t.diagnostic(`SEED=${seed}`)
      const url = server.newDatabase()()
      const directory = await formatCrowded(url)
      const engine = await openEngine(url, { log: silentLog })
      try {
        const join = { work: 'crowd', url, seed, startedMs: 0, faults: false, directory } as const
        await withClients({ ...join, clientsEach: CROWD / PROCESSES }, async crew => {
          for (const part of [0.3, 0.7]) {
            await everybody(crew, 'go')
            await sleep(seconds * 1000 * part)
            await lookAtCrowd(engine, directory, await everybody(crew, 'pause'), { seed, kind, inDoubt: false })
          }
          const reports = await everybody(crew, 'leave')
          tell(t, reports)
          await lookAtCrowd(engine, directory, reports, { seed, kind, inDoubt: false })
          const deeds = reports.flatMap(report => report.deeds).sort((a, b) => a - b)
          const [least, median] = [deeds[0]!, deeds[deeds.length >> 1]!]
          // Processes that write one SQLite file take turns by chance: it knows no queue of those who found it busy.
          const share = kind === 'sqlite3' ? 50 : 20
          assert.ok(least * share >= median, `one client did ${least} deeds, the one in the middle ${median}`)
          const slowest = Math.max(...reports.flatMap(report => report.slowestMs))
          assert.ok(slowest < SLOWEST_MS, `a deed took ${slowest} ms`)
        })
      } finally {
        await engine.close()
      }
    })
  })
}

const everybody = <C extends 'go' | 'pause' | 'leave'>(crew: readonly WorkerProcess[], command: C) =>
  Promise.all(crew.map(worker => worker.tell(command, null)))

function tell(t: TestContext, reports: readonly WorkReport[]): void {
  const deeds = reports.flatMap(report => report.deeds)
  const conflicts = reports.reduce((sum, report) => sum + report.conflicts, 0)
  const slowest = Math.max(...reports.flatMap(report => report.slowestMs))
  t.diagnostic(
    `${deeds.reduce((a, b) => a + b)} deeds, ${Math.min(...deeds)} to ${Math.max(...deeds)} a client, ` +
      `${conflicts} conflicts, the slowest deed took ${slowest.toFixed(0)} ms`,
  )
}

/** Slices that are named, and whose blocks somebody has deleted. */
async function gone(engine: Engine, deleted: ReadonlySet<number>): Promise<string[]> {
  const wrong: string[] = []
  for await (const { ino, index, records } of rowsOf(engine, 'chunks', { ino: null })) {
    for (const { id } of decodeRecords(records)) {
      if (deleted.has(id)) wrong.push(`chunk ${index} of inode ${ino} names slice ${id}, whose blocks are deleted`)
    }
  }
  return wrong
}

/** Whoever comes last cleans up after everybody; nothing is left over then. */
async function tidyUp(world: World, engine: Engine): Promise<void> {
  const last = new Client({ id: 1000, world, engine, scheduler: realTurns })
  await last.start()
  const leftovers = async (): Promise<number> => {
    const before = 2 ** 40
    const pages = [
      await engine.scan('deadFiles', { before }, null, 1e6),
      await engine.scan('unusedSlices', {}, null, 1e6),
      await engine.scan('trashedSlices', { before }, null, 1e6),
    ]
    return pages.reduce((sum, page) => sum + page.rows.length, world.stale.size)
  }
  const deadlineMs = performance.now() + 30_000
  while ((await leftovers()) > 0) {
    assert.ok(performance.now() < deadlineMs, `${await leftovers()} records are left over`)
    for (const work of ['cleanSession', 'deleteDead', 'deleteUnused', 'expireSlices'] as const) {
      await background[work](last)
    }
  }
  await last.close()
}
