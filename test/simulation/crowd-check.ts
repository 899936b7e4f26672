/** The volume of a crowd (crowd.ts), and whether what everybody was told is what is there. */

import assert from 'node:assert/strict'
import { SystemClock } from '../../src/base/clock.ts'
import { isErrno } from '../../src/base/errno.ts'
import { type Ino, ROOT_INO } from '../../src/base/ino.ts'
import { silentLog } from '../../src/base/log.ts'
import { openEngine } from '../../src/cmd/volume.ts'
import { checkVolume } from '../../src/meta/check.ts'
import { MetaClient } from '../../src/meta/client.ts'
import type { Engine } from '../../src/meta/engine.ts'
import { node } from '../../src/meta/facts.ts'
import type { Attr } from '../../src/meta/model/attr.ts'
import { systemCaller } from '../../src/meta/model/caller.ts'
import { rowsOf } from '../../src/meta/scan.ts'
import { type EngineKind, isAboutUsage, SUMS_IN_CLIENT } from '../servers/engines.ts'
import { clientConfig, formatVolume } from '../servers/volumes.ts'
import type { WorkReport } from './work.ts'

/** A new volume; returns the directory to crowd into. */
export async function formatCrowded(url: string): Promise<Ino> {
  await formatVolume(url, { TrashDays: 0 })
  const clock = new SystemClock()
  const engine = await openEngine(url, { log: silentLog })
  try {
    const options = { clock, log: silentLog, random: Math.random, config: clientConfig() }
    const meta = await MetaClient.open(engine, options)
    const what = { type: 2, mode: 0o777, umask: 0, rdev: 0, target: '' }
    const made = await meta.make(systemCaller(clock.now()), ROOT_INO, 'crowded', what)
    assert.ok(!isErrno(made))
    return made.ino
  } finally {
    await engine.close()
  }
}

/** What everybody was told must be what is there. `inDoubt`: answers were lost on the way, those to sums of usage among them; then
 *  usage is left out, on engines whose clients sum it. */
export async function lookAtCrowd(
  engine: Engine,
  directory: Ino,
  reports: readonly WorkReport[],
  { seed, kind, inDoubt }: { readonly seed: number; readonly kind: EngineKind; readonly inDoubt: boolean },
): Promise<void> {
  assert.deepEqual(
    reports.flatMap(report => report.lies),
    [],
    `SEED=${seed}`,
  )
  const entries = new Map<string, Ino>()
  let directories = 0
  for await (const { name, ino, type } of rowsOf(engine, 'entries', { parent: directory, attrs: false })) {
    entries.set(name, ino)
    if (type === 2) directories++
  }
  const owned = reports.flatMap(report => report.owned)
  for (const [name, ino] of owned) assert.equal(entries.get(name), ino, `${name}, SEED=${seed}`)
  const balance = new Map<string, number>()
  for (const [name, n] of reports.flatMap(report => report.balance)) balance.set(name, (balance.get(name) ?? 0) + n)
  for (const [name, n] of balance) assert.equal(n, entries.has(name) ? 1 : 0, `${name}, SEED=${seed}`)
  const shared = [...balance.values()].reduce((a, b) => a + b, 0)
  assert.equal(entries.size, owned.length + shared, 'nothing else is there')
  const [attr] = (await engine.gather([node(directory)], 'look')) as [Attr | null]
  assert.ok(attr !== null && !isErrno(attr))
  assert.equal(attr.nlink, 2 + directories)
  const wrong = await checkVolume(engine)
  assert.deepEqual(
    inDoubt && SUMS_IN_CLIENT.has(kind) ? wrong.filter(line => !isAboutUsage(line)) : wrong,
    [],
    `SEED=${seed}`,
  )
}
