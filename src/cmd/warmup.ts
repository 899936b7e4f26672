/** `warmup PATH…`: has the mount that serves the paths fetch their blocks into its cache, drop them, or say what is there (spec cli
 *  section 7.8). Files are named to it by their inodes: so links and strange names are the kernel's business. */

import { readFileSync, realpathSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { ask, OP_FILL_CACHE } from './control-client.ts'
import { CommandError, EXIT_FAILED, messageOf } from './exit.ts'
import type { Options } from './flags.ts'
import { bytesText } from './humanize.ts'
import { withLine } from './progress.ts'
import { renderTable } from './table.ts'
import { log as terminalLog } from './terminal-log.ts'

/** paths of one request */
const BATCH = 10_240
const MOST_THREADS = 65_535
const ACTIONS = ['warmup', 'evict', 'check'] as const
type Action = (typeof ACTIONS)[number]

interface Answer {
  readonly FileCount: number
  readonly SliceCount: number
  readonly TotalBytes: number
  readonly MissBytes: number
  readonly Locations: Readonly<Record<string, number>> | null
}

interface Batch {
  /** in the mount */
  readonly directory: string
  readonly inodes: bigint[]
}

export async function run(options: Options, args: readonly string[]): Promise<number> {
  const log = terminalLog()
  const [isEvict, isCheck] = [options.bool('evict'), options.bool('check')]
  if (isEvict && isCheck) throw new CommandError("--check and --evict can't be used together")
  const action: Action = isCheck ? 'check' : isEvict ? 'evict' : 'warmup'
  const paths = [...args, ...(options.string('file') ? listed(options.string('file')) : [])]
  if (paths.length === 0) {
    log.info('no path')
    return 0
  }
  const { batches, missing } = batchesOf(paths)
  const background = options.bool('background')
  const threads = Math.max(1, Math.min(options.number('threads'), MOST_THREADS))
  const total = { files: 0, bytes: 0, missed: 0, places: new Map<string, number>() }
  const line = (): string => `${action} cache file: ${total.files}   ${action} cache size: ${bytesText(total.bytes)}`
  await withLine(line, async () => {
    for (const { directory, inodes } of batches) {
      const before = { ...total }
      const body = requestOf(inodes, { threads, background, action })
      const json = await ask(directory, OP_FILL_CACHE, body, (files, bytes) => {
        total.files = before.files + files
        total.bytes = before.bytes + bytes
      })
      const answer = JSON.parse(json) as Answer
      total.files = before.files + answer.FileCount
      total.bytes = before.bytes + answer.TotalBytes
      total.missed += answer.MissBytes
      for (const [place, bytes] of Object.entries(answer.Locations ?? {}))
        total.places.set(place, (total.places.get(place) ?? 0) + bytes)
    }
  })
  if (background) log.info(`${action} cache for ${paths.length - missing} paths in background`)
  else if (action === 'check') {
    const cached = total.bytes - total.missed
    if (cached > 0) process.stdout.write(renderPlaces(total.places, total.bytes))
    log.info(
      `check cache: ${total.files} files checked, ${bytesText(cached)} of ${bytesText(total.bytes)} (${percent(cached, total.bytes)}) cached`,
    )
  } else {
    log.info(`${action} cache: ${total.files} files (${bytesText(total.bytes)} bytes)`)
    if (total.missed > 0) log.error(`${bytesText(total.missed)} could not be fetched: the log of the mount says why`)
  }
  return missing > 0 || (action === 'warmup' && total.missed > 0) ? EXIT_FAILED : 0
}

function listed(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').split('\n').filter(Boolean)
  } catch (error) {
    throw new CommandError(`--file: ${messageOf(error)}`)
  }
}

/** By mount, so many at a time. A path that cannot be looked at is told of and left out. */
function batchesOf(paths: readonly string[]): { batches: readonly Batch[]; missing: number } {
  const batches: Batch[] = []
  const current = new Map<bigint, Batch>()
  let missing = 0
  for (const path of paths) {
    try {
      const stat = statSync(resolve(path), { bigint: true })
      const full = realpathSync(path)
      let batch = current.get(stat.dev)
      if (batch === undefined || batch.inodes.length === BATCH) {
        batch = { directory: stat.isDirectory() ? full : dirname(full), inodes: [] }
        current.set(stat.dev, batch)
        batches.push(batch)
      }
      batch.inodes.push(stat.ino)
    } catch (error) {
      missing++
      terminalLog().error(`warmup: ${path}: ${messageOf(error)}`)
    }
  }
  return { batches, missing }
}

function requestOf(
  inodes: readonly bigint[],
  { threads, background, action }: { threads: number; background: boolean; action: Action },
): Buffer {
  const paths = Buffer.from(inodes.map(ino => `inode:${ino}`).join('\n'))
  const body = Buffer.alloc(4 + paths.length + 4)
  body.writeUInt32BE(paths.length, 0)
  paths.copy(body, 4)
  body.writeUInt16BE(threads, 4 + paths.length)
  body[6 + paths.length] = background ? 1 : 0
  body[7 + paths.length] = ACTIONS.indexOf(action)
  return body
}

const percent = (part: number, whole: number): string => `${(whole === 0 ? 100 : (part / whole) * 100).toFixed(1)}%`

function renderPlaces(places: ReadonlyMap<string, number>, totalBytes: number): string {
  const rows = [...places]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([place, bytes]) => [place, bytesText(bytes), percent(bytes, totalBytes)])
  return renderTable([['Location', 'Size', 'Percentage'], ...rows], { leftColumn: 0 })
}
