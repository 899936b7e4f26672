/** Metadata operations through a mount (SQLite, defaults) as a share of the null file system, which answers the same
 *  requests of the same kernel through the same transport without doing anything.
 *
 *    node bench/metadata.ts [--runs 5] [--count 4000] [--entries 100000]
 *
 *  us CPU: of the serving process, an operation; less disturbed by a busy machine than rates are. Both keep nothing in the
 *  kernel for `stat` (time-outs of 0 s), and 1 s, the default, for the other rows. */

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { mountedVolume } from '../test/mount/harness.ts'
import {
  buildClient,
  cpuSeconds,
  measure,
  median,
  mountNull,
  optionsOf,
  printTable,
  ratioText,
  type Step,
  whole,
} from './harness.ts'

const { runs, count, entries } = optionsOf({ runs: 5, count: 4000, entries: 100_000 })
const GOALS: Partial<Record<Step, number>> = { stat: 0.5, create: 0.35, unlink: 0.35, readdir: 0.3 }

interface Side {
  readonly pid: number
  readonly directory: string
  readonly listed: string
}
const table: string[][] = []

/** Some steps in turn on both sides, `runs` times after one to warm up. */
async function compare(ours: Side, theirs: Side, steps: readonly Step[], threads: number): Promise<void> {
  const rates = new Map(
    steps.map(step => [
      step,
      { ours: [] as number[], theirs: [] as number[], ourCpu: [] as number[], theirCpu: [] as number[] },
    ]),
  )
  for (let run = 0; run <= runs; run++) {
    for (const side of [theirs, ours]) {
      for (const step of steps) {
        const isList = step === 'readdir'
        const operations = isList ? entries : count
        const before = cpuSeconds(side.pid)
        const { rate } = await measure(client, step, isList ? side.listed : side.directory, operations, threads)
        if (run === 0) continue
        const found = rates.get(step)!
        found[side === ours ? 'ours' : 'theirs'].push(rate)
        found[side === ours ? 'ourCpu' : 'theirCpu'].push(((cpuSeconds(side.pid) - before) / operations) * 1e6)
      }
    }
  }
  for (const [step, found] of rates) {
    const ratio = median(found.ours.map((rate, i) => rate / found.theirs[i]!))
    table.push([
      step,
      String(threads),
      whole(median(found.ours)),
      whole(median(found.theirs)),
      median(found.ourCpu).toFixed(1),
      median(found.theirCpu).toFixed(1),
      ratioText(ratio, GOALS[step]!),
    ])
  }
}

const dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-bench-'))
const client = buildClient(dir)
for (const keepSeconds of [0, 1]) {
  const keep = String(keepSeconds)
  const volume = mountedVolume({
    format: ['--trash-days', '0'],
    mount: ['--attr-cache', keep, '--entry-cache', keep, '--dir-entry-cache', keep],
  })
  const nothing = await mountNull(dir, keepSeconds)
  try {
    const ours = { pid: volume.pid(), directory: join(volume.mountPoint, 'a'), listed: join(volume.mountPoint, 'b') }
    const theirs = { pid: nothing.pid, directory: nothing.mountPoint, listed: join(nothing.mountPoint, `d${entries}`) }
    mkdirSync(ours.directory)
    mkdirSync(ours.listed)
    if (keepSeconds === 0) {
      for (const side of [ours, theirs]) await measure(client, 'fill', side.directory, count)
      for (const threads of [1, 8]) await compare(ours, theirs, ['stat'], threads)
    } else {
      for (const threads of [1, 8]) await compare(ours, theirs, ['create', 'unlink'], threads)
      await measure(client, 'fill', ours.listed, entries)
      await compare(ours, theirs, ['readdir'], 1)
    }
    volume.unmount()
  } finally {
    await nothing.stop()
    volume.remove()
  }
}
rmSync(dir, { recursive: true, force: true })
printTable(['operation', 'threads', 'mount /s', 'null /s', 'us CPU', 'null', 'ratio'], table)
