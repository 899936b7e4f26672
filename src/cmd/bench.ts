/** `bench PATH`: writes, reads and stats files with ordinary system calls on any directory (spec bench section 1).
 *
 *  It measures others, so its own loop must cost little: each of `--threads` is a worker thread that makes synchronous calls
 *  on one reused buffer and reports when it began and ended by the system-wide monotonic clock. */

import { execFileSync } from 'node:child_process'
import { rmSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { type FileShape, type JuiceStats, juiceRows, renderReport, type Sample, type Timings } from './bench-report.ts'
import { BenchThreads, type Phase } from './bench-threads.ts'
import { CommandError, messageOf } from './exit.ts'
import type { Options } from './flags.ts'
import { makeDirectory } from './paths.ts'
import { withBar } from './progress.ts'
import { parseStats, readInternal } from './running-mount.ts'
import { log as terminalLog } from './terminal-log.ts'

const ROOT_INODE = 1

/** How a file is read and written by calls of a block each. */
export function shapeOf(fileBytes: number, blockBytes: number): FileShape {
  if (fileBytes <= blockBytes) return { ioBytes: fileBytes, ios: 1 }
  return { ioBytes: blockBytes, ios: Math.ceil(fileBytes / blockBytes) }
}

export async function run(options: Options, [path = '']: readonly string[]): Promise<number> {
  const blockBytes = options.number('block-size')
  const bigBytes = options.number('big-file-size')
  const smallBytes = options.number('small-file-size')
  const smallCount = options.number('small-file-count')
  const threads = options.number('threads')
  const hasSmall = smallBytes > 0 && smallCount > 0
  if (blockBytes === 0 || threads === 0 || (bigBytes === 0 && !hasSmall)) throw new CommandError('invalid argument')
  const big = shapeOf(bigBytes, blockBytes)
  const small = shapeOf(smallBytes, blockBytes)

  const directory = join(resolve(path), `__juicefs_benchmark_${process.hrtime.bigint() + wallOffsetNs()}__`)
  makeDirectory(directory)
  const pool = new BenchThreads(directory, threads)
  const timings: Timings = {}
  try {
    if (process.getuid?.() !== 0) process.stdout.write('Cleaning kernel cache, may ask for root privilege...\n')
    dropCaches()
    const mount = findMountRoot(directory)
    const before = await statsOf(mount)
    const phase = async (title: string, total: number, work: Phase): Promise<number> =>
      withBar(
        title,
        total,
        () => pool.progress,
        () => pool.run(work),
      )
    if (bigBytes > 0) {
      const shape = { prefix: 'bigfile', files: 1, ...big }
      timings.writeBig = await phase('Write big blocks', threads * big.ios, { kind: 'write', ...shape })
      dropCaches()
      timings.readBig = await phase('Read big blocks', threads * big.ios, { kind: 'read', ...shape })
    }
    if (hasSmall) {
      const shape = { prefix: 'smallfile', files: smallCount, ...small }
      timings.writeSmall = await phase('Write small blocks', threads * smallCount * small.ios, {
        kind: 'write',
        ...shape,
      })
      dropCaches()
      timings.readSmall = await phase('Read small blocks', threads * smallCount * small.ios, { kind: 'read', ...shape })
      dropCaches()
      timings.stat = await phase('Stat small files', threads * smallCount, { kind: 'stat', ...shape })
    }
    rmSync(directory, { recursive: true, force: true })
    const after = await statsOf(mount)
    const juice: JuiceStats | null = before && after ? { before, after } : null
    const sample: Sample = { blockBytes, bigBytes, smallBytes, smallCount, threads, big, timings }
    process.stdout.write(renderReport(sample, juice ? juiceRows(juice) : null, process.stdout.isTTY === true))
    return 0
  } finally {
    await pool.close()
    rmSync(directory, { recursive: true, force: true })
  }
}

/** Between the monotonic clock and the wall's: the directory's name is a time in nanoseconds. */
const wallOffsetNs = (): bigint => BigInt(Date.now()) * 1_000_000n - process.hrtime.bigint()

/** The root of the mount that the directory lies in, known by its inode number 1. */
function findMountRoot(directory: string): string | null {
  for (let at = directory; at !== '/'; at = dirname(at)) if (statSync(at).ino === ROOT_INODE) return at
  return null
}

async function statsOf(mount: string | null): Promise<Map<string, number> | null> {
  const text = mount === null ? null : await readInternal(mount, 'stats')
  return text === null ? null : parseStats(text)
}

function dropCaches(): void {
  if (process.env.SKIP_DROP_CACHES === 'true') {
    terminalLog().warn('Clear cache operation has been skipped')
    return
  }
  const shell = ['/bin/sh', '-c', 'echo 3 > /proc/sys/vm/drop_caches']
  const [file = '', ...args] = process.getuid?.() === 0 ? shell : ['sudo', ...shell]
  try {
    execFileSync(file, args, { stdio: ['inherit', 'ignore', 'pipe'] })
  } catch (error) {
    const { stderr } = error as { stderr?: Buffer }
    terminalLog().warn(`Failed to clean kernel caches: ${stderr?.toString('utf8').trim() || messageOf(error)}`)
  }
}
