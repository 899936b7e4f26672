/** Big files through a mount as a share of the null file system, and the CPU time of the server a GiB.
 *
 *    node bench/big-files.ts [--runs 5] [--size 512]             size in MiB
 *
 *  write, read       store `mem`, no cache: every block is put or fetched
 *  read, cached      store `file`, `--cache-dir memory`: blocks are in this client's memory
 *  The page cache is dropped for the file before each read. `null, pages`: a null file system through whose pages is written, as it was before
 *  mounts passed by them (docs/design/004). */

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
  peakMiB,
  printTable,
  ratioText,
  type Step,
  whole,
} from './harness.ts'

const { runs, size } = optionsOf({ runs: 5, size: 512 })
const GOAL = 0.6
const table: string[][] = []

interface Measured {
  readonly rate: number
  readonly cpu: number
}
async function once(step: Step, pid: number, directory: string): Promise<Measured> {
  const before = cpuSeconds(pid)
  const { rate } = await measure(client, step, directory, size)
  return { rate, cpu: ((cpuSeconds(pid) - before) / size) * 1024 }
}

const dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-bench-'))
const client = buildClient(dir)
const nothing = await mountNull(dir, 1)
const nothingByPages = await mountNull(dir, 1, '', 'pages')

async function compare(
  what: string,
  steps: readonly Step[],
  reported: readonly Step[],
  format: readonly string[],
  mount: readonly string[],
): Promise<void> {
  const volume = mountedVolume({ format: ['--trash-days', '0', ...format], mount })
  try {
    const ours = join(volume.mountPoint, 'a')
    mkdirSync(ours)
    const pid = volume.pid()
    const found = new Map(reported.map(step => [step, [] as (readonly [Measured, Measured, Measured])[]]))
    for (let run = 0; run <= runs; run++) {
      for (const step of run === 0 ? steps : reported) {
        const pair = [
          await once(step, nothing.pid, nothing.mountPoint),
          await once(step, pid, ours),
          await once(step, nothingByPages.pid, nothingByPages.mountPoint),
        ] as const
        if (run > 0) found.get(step)!.push(pair)
      }
    }
    for (const [step, pairs] of found) {
      const of = (side: 0 | 1 | 2, key: keyof Measured): number => median(pairs.map(pair => pair[side][key]))
      table.push([
        `${step}${what}`,
        whole(of(1, 'rate')),
        whole(of(0, 'rate')),
        of(1, 'cpu').toFixed(2),
        of(0, 'cpu').toFixed(2),
        whole(peakMiB(pid)),
        ratioText(median(pairs.map(([theirs, ours]) => ours.rate / theirs.rate)), GOAL),
        whole(of(2, 'rate')),
        ratioText(median(pairs.map(([, ours, byPages]) => ours.rate / byPages.rate)), GOAL),
      ])
    }
    volume.unmount()
  } finally {
    volume.remove()
  }
}

try {
  await compare(', mem store', ['write', 'read'], ['write', 'read'], ['--storage', 'mem'], ['--cache-size', '0'])
  const cached = ['--cache-dir', 'memory', '--cache-size', `${2 * size}M`]
  await compare(', memory cache', ['write', 'read'], ['read'], [], cached)
} finally {
  await nothing.stop()
  await nothingByPages.stop()
  rmSync(dir, { recursive: true, force: true })
}
printTable(['', 'mount MiB/s', 'null MiB/s', 'CPU s/GiB', 'null', 'peak MiB', 'ratio', 'null, pages', 'ratio'], table)
