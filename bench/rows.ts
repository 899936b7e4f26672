/** The rows of `juicefs-ts bench` on a mount as a share of the same rows on a plain directory of the same disk, and beside them
 *  what the null file system reaches, which stores nothing: no server behind the same transport can be faster. All in one run,
 *  alternating. The mount has its defaults, the cache directory among them; `--cache-dir` names another, on the same disk too. Run:
 *  node bench/rows.ts [--runs 3] [--big 512M] [--files 200] [--warm 2048] [--cache-dir …]. Prints the medians and their ratios.
 *
 *  Before each, `--warm` MiB of memory are used and freed (0: not): a virtual machine gives freed memory back to its host, and who gets it
 *  again pays for that with more time than the rest takes. The mount, which needs three times as much as a directory, would pay for both. */

import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { cli, mountedVolume } from '../test/mount/harness.ts'
import { cpuSeconds, median, mountNull, optionsOf, peakMiB, printTable, rssMiB } from './harness.ts'

const options = optionsOf({ runs: 3, big: '512M', files: 200, warm: 2048, 'cache-dir': '' })
const { runs, big, files, warm } = options
const cacheDir = options['cache-dir']
const rows = ['Write big file', 'Read big file', 'Write small file', 'Read small file', 'Stat file'] as const

function warmMemory(): void {
  const path = join(plain, 'warm')
  const fd = openSync(path, 'w')
  const piece = Buffer.alloc(1 << 20)
  for (let i = 0; i < warm; i++) writeSync(fd, piece)
  closeSync(fd)
  rmSync(path)
}

function benchmark(path: string): number[] {
  warmMemory()
  const ran = cli(
    ['bench', '--big-file-size', big, '--small-file-count', String(files), path],
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
const nullDir = mkdtempSync(join(tmpdir(), 'juicefs-ts-null-'))
const nothing = await mountNull(nullDir, 1)
const volume = mountedVolume({ defaultCache: true, mount: cacheDir === '' ? [] : ['--cache-dir', cacheDir] })
try {
  mkdirSync(join(volume.mountPoint, 'bench'))
  const [ours, theirs, ceiling]: [number[][], number[][], number[][]] = [[], [], []]
  const pid = volume.pid()
  benchmark(plain)
  for (let i = 0; i < runs; i++) {
    theirs.push(benchmark(plain))
    ceiling.push(benchmark(nothing.mountPoint))
    ours.push(benchmark(join(volume.mountPoint, 'bench')))
  }
  const table = rows.map((row, at) => {
    const medianOf = (runs: number[][]): number => median(runs.map(run => run[at]!))
    const share = (a: number[][], b: number[][]): string => median(a.map((run, i) => run[at]! / b[i]![at]!)).toFixed(3)
    const rates = [ours, ceiling, theirs].map(runs => medianOf(runs).toFixed(1))
    return [row, ...rates, share(ours, theirs), share(ceiling, theirs), share(ours, ceiling)]
  })
  printTable(['row', 'mount', 'null', 'plain', 'mount/plain', 'null/plain', 'mount/null'], table)
  const peak = peakMiB(pid)
  await new Promise(resolve => setTimeout(resolve, 10_000))
  console.log(`server memory: ${rssMiB(pid).toFixed(0)} MiB 10 s after, peak ${peak.toFixed(0)} MiB`)
  const before = cpuSeconds(pid)
  await new Promise(resolve => setTimeout(resolve, 60_000))
  console.log(`server CPU while idle: ${(((cpuSeconds(pid) - before) / 60) * 100).toFixed(2)} % over 60 s`)
  volume.unmount()
} finally {
  volume.remove()
  await nothing.stop()
  rmSync(nullDir, { recursive: true, force: true })
  rmSync(plain, { recursive: true, force: true })
}
