/** The rows of `juicefs-ts bench` on a mount as a share of the same rows on a plain directory of the same disk, both in one
 *  run, alternating. Run: node bench/rows.ts [--runs 3] [--big 256M]. Prints the medians and their ratios. */

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

import { cli, mountedVolume } from '../test/mount/harness.ts'
import { cpuSeconds, median, peakMiB, rssMiB } from './harness.ts'

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '3' },
    big: { type: 'string', default: '512M' },
    files: { type: 'string', default: '200' },
  },
})
const rows = ['Write big file', 'Read big file', 'Write small file', 'Read small file', 'Stat file'] as const

function benchmark(path: string): number[] {
  const ran = cli(
    ['bench', '--big-file-size', values.big, '--small-file-count', values.files, path],
    { DISPLAY_PROGRESSBAR: 'false' },
    600_000,
  )
  if (ran.status !== 0) throw new Error(ran.stderr)
  return rows.map(row => {
    const value = new RegExp(`${row} \\|\\s+([\\d.]+)`).exec(ran.stdout)?.[1]
    if (value === undefined) throw new Error(`no row "${row}" in\n${ran.stdout}`)
    return Number(value)
  })
}

const plain = mkdtempSync(join(tmpdir(), 'juicefs-ts-plain-'))
const volume = mountedVolume()
try {
  mkdirSync(join(volume.mountPoint, 'bench'))
  const [ours, theirs]: [number[][], number[][]] = [[], []]
  const pid = volume.pid()
  benchmark(plain)
  for (let i = 0; i < Number(values.runs); i++) {
    theirs.push(benchmark(plain))
    ours.push(benchmark(join(volume.mountPoint, 'bench')))
  }
  console.log('row                 mount      plain      ratio (median of pairs)')
  for (const [at, row] of rows.entries()) {
    const [a, b] = [median(ours.map(run => run[at]!)), median(theirs.map(run => run[at]!))]
    const ratio = median(ours.map((run, i) => run[at]! / theirs[i]![at]!))
    console.log(
      `${row.padEnd(18)} ${a.toFixed(1).padStart(9)} ${b.toFixed(1).padStart(10)} ${ratio.toFixed(3).padStart(9)}`,
    )
  }
  const peak = peakMiB(pid)
  await new Promise(resolve => setTimeout(resolve, 10_000))
  console.log(`server memory: ${rssMiB(pid).toFixed(0)} MiB 10 s after, peak ${peak.toFixed(0)} MiB`)
  const before = cpuSeconds(pid)
  await new Promise(resolve => setTimeout(resolve, 60_000))
  console.log(`server CPU while idle: ${(((cpuSeconds(pid) - before) / 60) * 100).toFixed(2)} % over 60 s`)
  volume.unmount()
} finally {
  volume.remove()
  rmSync(plain, { recursive: true, force: true })
}
