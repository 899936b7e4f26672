/** What metadata operations cost over each engine: round trips and statements on the wire, operations a second with 0 and with
 *  1 ms of added latency, one and 32 at a time, CPU time and memory of this client.
 *
 *    node bench/engines.ts [--engines redis,postgres,mysql,sqlite3] [--count 300]
 *
 *  Servers are started for it, on loopback, with durability off; between them and the client lies a proxy that counts. */

import { SystemClock } from '../src/base/clock.ts'
import { isErrno } from '../src/base/errno.ts'
import { type Ino, ROOT_INO } from '../src/base/ino.ts'
import { silentLog } from '../src/base/log.ts'
import { openEngine } from '../src/cmd/volume.ts'
import { MetaClient } from '../src/meta/client.ts'
import { Driver } from '../src/meta/driver.ts'
import { initVolume } from '../src/meta/ops/init-volume.ts'
import { allEngines } from '../test/servers/engines.ts'
import { type Protocol, Wire } from '../test/servers/wire.ts'
import { optionsOf, printTable } from './harness.ts'

const { engines, count } = optionsOf({ engines: 'redis,postgres,mysql,sqlite3', count: 300 })
const clock = new SystemClock()
const caller = { uid: 0, gid: 0, gids: [0], now: clock.now(), check: false }
/** as many as a mount asks for at once */
const PAGE_ENTRIES = 512
const FILE = { type: 1, mode: 0o644, umask: 0, rdev: 0, target: '' }
const DIRECTORY = { ...FILE, type: 2, mode: 0o755 }
const config = {
  readOnly: false,
  noBackgroundJobs: true,
  heartbeatMs: 0,
  skipDirMtimeNs: 1e8,
  atimeMode: 'noatime',
  openCacheLimit: 10_000,
  openCacheNs: 0,
  mountPoint: '',
  version: '0',
} as const

interface Served {
  readonly url: string
  readonly wire: Wire | null
  stop(): Promise<void>
}

/** A server of its own with an empty database, behind a proxy. */
async function serve(kind: string): Promise<Served> {
  const engine = allEngines.find(each => each.kind === kind)
  if (engine === undefined) throw new Error(`no engine ${kind}`)
  const server = await engine.start()
  const address = server.newDatabase()
  const wire = kind === 'sqlite3' ? null : await Wire.open(server.port, kind as Protocol)
  return {
    url: address(wire?.port),
    wire,
    stop: async () => {
      await wire?.close()
      await server.stop()
    },
  }
}

async function openVolume(url: string): Promise<MetaClient> {
  const engine = await openEngine(url, { log: silentLog })
  await engine.prepare()
  const setting = JSON.stringify({ Name: 'bench', UUID: 'bench', BlockSize: 4096, TrashDays: 0, DirStats: true })
  await new Driver(engine, { random: Math.random, onEffect: () => undefined }).run('change', () =>
    initVolume(setting, { isNew: true, trash: false, now: clock.now() }),
  )
  const meta = await MetaClient.open(engine, { clock, log: silentLog, random: Math.random, config })
  await meta.newSession()
  return meta
}

type Step = (meta: MetaClient, parent: Ino, inos: Ino[], i: number) => unknown

/** In this order on one directory: later ones work on what earlier ones made. A lookup that finds nothing comes before a name
 *  is made, as the kernel does it; it is not counted as part of the change. */
const STEPS: readonly (readonly [name: string, step: Step, before?: Step])[] = [
  [
    'create',
    async (meta, parent, inos, i) => {
      const made = await meta.create(caller, parent, `f${i}`, FILE, 2, true)
      if (isErrno(made)) throw new Error(`create: ${made}`)
      inos[i] = made.ino
    },
    (meta, parent, _, i) => meta.lookup(caller, parent, `f${i}`),
  ],
  ['lookup', (meta, parent, _, i) => meta.lookup(caller, parent, `f${i}`)],
  ['getattr', (meta, _, inos, i) => meta.getattr(inos[i]!)],
  ['open', (meta, _, inos, i) => meta.open(caller, inos[i]!, 0)],
  [
    'write-commit',
    async (meta, _, inos, i) => {
      const id = await meta.newSliceId()
      return await meta.writeSlice(inos[i]!, 0, 0, { id, size: 4096, off: 0, len: 4096 }, clock.now())
    },
  ],
  ['setattr', (meta, _, inos, i) => meta.setattr(caller, inos[i]!, { mode: 0o600 })],
  ['readdirplus, a page', (meta, parent) => meta.readdir(caller, parent, null, PAGE_ENTRIES, true)],
  [
    'link',
    (meta, parent, inos, i) => meta.link(caller, inos[i]!, parent, `l${i}`),
    async (meta, parent, _, i) => {
      await meta.lookup(caller, parent, `f${i}`)
      await meta.lookup(caller, parent, `l${i}`)
    },
  ],
  [
    'rename',
    (meta, parent, _, i) => meta.rename(caller, { parent, name: `l${i}` }, { parent, name: `r${i}` }, 0),
    async (meta, parent, _, i) => {
      await meta.lookup(caller, parent, `l${i}`)
      await meta.lookup(caller, parent, `r${i}`)
    },
  ],
  [
    'unlink',
    (meta, parent, _, i) => meta.unlink(caller, parent, `r${i}`),
    (meta, parent, _, i) => meta.lookup(caller, parent, `r${i}`),
  ],
  [
    'mkdir',
    (meta, parent, _, i) => meta.make(caller, parent, `d${i}`, DIRECTORY),
    (meta, parent, _, i) => meta.lookup(caller, parent, `d${i}`),
  ],
  [
    'rmdir',
    (meta, parent, _, i) => meta.rmdir(caller, parent, `d${i}`),
    (meta, parent, _, i) => meta.lookup(caller, parent, `d${i}`),
  ],
]

interface Row {
  trips: number
  statements: number
  rates: number[]
  cpuMicros: number
}

/** Every step `n` times in a fresh directory, `together` at a time. */
async function round(
  meta: MetaClient,
  wire: Wire | null,
  n: number,
  together: number,
  found: (name: string, measured: { rate: number; trips: number; statements: number; cpuMicros: number }) => void,
): Promise<void> {
  const made = await meta.make(caller, ROOT_INO, `round${Math.random()}`, DIRECTORY)
  if (isErrno(made)) throw new Error(`mkdir: ${made}`)
  const inos: Ino[] = []
  for (const [name, step, before] of STEPS) {
    const total = { ms: 0, trips: 0, statements: 0, cpuMicros: 0 }
    for (let i = 0; i < n; i += together) {
      const turns = Array.from({ length: Math.min(together, n - i) }, (_, k) => i + k)
      if (before) await Promise.all(turns.map(k => before(meta, made.ino, inos, k)))
      const [trips, statements, cpu, start] = [
        wire?.trips ?? 0,
        wire?.statements ?? 0,
        process.cpuUsage(),
        performance.now(),
      ]
      const answers = await Promise.all(turns.map(k => step(meta, made.ino, inos, k)))
      total.ms += performance.now() - start
      const used = process.cpuUsage(cpu)
      total.cpuMicros += used.user + used.system
      total.trips += (wire?.trips ?? 0) - trips
      total.statements += (wire?.statements ?? 0) - statements
      for (const answer of answers) if (typeof answer === 'number') throw new Error(`${name}: errno ${answer}`)
    }
    found(name, {
      rate: (n / total.ms) * 1000,
      trips: total.trips / n,
      statements: total.statements / n,
      cpuMicros: total.cpuMicros / n,
    })
  }
}

for (const kind of engines.split(',')) {
  const served = await serve(kind)
  const meta = await openVolume(served.url)
  const rows = new Map<string, Row>(STEPS.map(([name]) => [name, { trips: 0, statements: 0, rates: [], cpuMicros: 0 }]))
  await round(meta, served.wire, Math.min(50, count), 1, () => {})
  for (const [delayMs, together] of [
    [0, 1],
    [0, 32],
    [1, 1],
    [1, 32],
  ] as const) {
    if (served.wire === null && delayMs > 0) continue
    if (served.wire) served.wire.delayMs = delayMs
    const n = delayMs > 0 && together === 1 ? Math.min(count, 100) : count
    await round(meta, served.wire, n, together, (name, measured) => {
      const row = rows.get(name)!
      row.rates.push(measured.rate)
      if (delayMs === 0 && together === 1)
        Object.assign(row, { trips: measured.trips, statements: measured.statements })
      if (delayMs === 0 && together === 32) row.cpuMicros = measured.cpuMicros
    })
  }
  console.log(`\n${kind}: operations a second`)
  printTable(
    ['', 'trips', 'statements', '1 at a time', '32', '+1 ms, 1', '+1 ms, 32', 'CPU µs'],
    [...rows].map(([name, { trips, statements, rates, cpuMicros }]) => [
      name,
      served.wire ? trips.toFixed(2) : '–',
      served.wire ? statements.toFixed(2) : '–',
      ...[0, 1, 2, 3].map(i => (rates[i] === undefined ? '–' : Math.round(rates[i]).toLocaleString('en-US'))),
      cpuMicros.toFixed(0),
    ]),
  )
  console.log(`memory: ${(process.memoryUsage().rss / 2 ** 20).toFixed(0)} MiB`)
  await meta.closeSession()
  await meta.engine.close()
  await served.stop()
}
