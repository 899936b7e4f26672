/** A directory of a million entries: made, listed, removed; the server's memory before, at its peak and some seconds after each step.
 *
 *    node bench/million.ts [--count 1000000] [--threads 8] */

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { mountedVolume } from '../test/mount/harness.ts'
import {
  buildClient,
  cpuSeconds,
  measure,
  optionsOf,
  peakMiB,
  printTable,
  resetPeak,
  rssMiB,
  type Step,
  whole,
} from './harness.ts'

/** An idle client has collected and given back by then. */
const IDLE_MS = 12_000

const { count, threads } = optionsOf({ count: 1_000_000, threads: 8 })

const dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-bench-'))
const client = buildClient(dir)
const volume = mountedVolume({ format: ['--trash-days', '0'] })
const table: string[][] = []
try {
  const directory = join(volume.mountPoint, 'many')
  mkdirSync(directory)
  const pid = volume.pid()
  for (const step of ['create', 'readdir', 'readdir', 'unlink'] satisfies Step[]) {
    const before = rssMiB(pid)
    const cpu = cpuSeconds(pid)
    resetPeak(pid)
    const { rate, firstSeconds } = await measure(client, step, directory, count, step === 'readdir' ? 1 : threads)
    table.push([
      step,
      whole(rate),
      (count / rate).toFixed(1),
      step === 'readdir' ? (firstSeconds * 1000).toFixed(1) : '',
      (cpuSeconds(pid) - cpu).toFixed(1),
      whole(before),
      whole(peakMiB(pid)),
    ])
    await sleep(IDLE_MS)
    table.at(-1)!.push(whole(rssMiB(pid)))
  }
  volume.unmount()
} finally {
  volume.remove()
  rmSync(dir, { recursive: true, force: true })
}
printTable(['', 'entries/s', 's', 'first ms', 'server CPU s', 'MiB before', 'MiB peak', 'MiB after'], table)
