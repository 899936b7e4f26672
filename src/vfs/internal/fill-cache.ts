/** Warms up, empties or looks at the cache for files and trees: `warmup` by way of `.control` (spec vfs section 8).
 *
 *      request   u32 length | paths joined by \n | u16 threads | u8 background | u8 action, if there is one
 *      progress  files, bytes                   answer  one JSON document
 */

import type { Name } from '../../base/bytes.ts'
import { EINVAL, type Errno, errnoText, isErrno } from '../../base/errno.ts'
import { causeText } from '../../base/fault.ts'
import { inParallel } from '../../base/in-parallel.ts'
import type { Ino } from '../../base/ino.ts'
import type { Log } from '../../base/log.ts'
import type { ChunkStore, SliceName } from '../../chunk/chunk-store.ts'
import type { MetaClient } from '../../meta/client.ts'
import { chunk } from '../../meta/facts.ts'
import { TYPE_DIRECTORY, TYPE_FILE } from '../../meta/model/attr.ts'
import type { Caller } from '../../meta/model/caller.ts'
import { buildView, decodeRecords } from '../../meta/model/slice.ts'
import type { Progress } from './control.ts'
import { findPath } from './paths.ts'

const ACTIONS = ['warm', 'evict', 'check'] as const
const MOST_THREADS = 1000
/** of a chunk's list, while others go on changing it */
const MOST_RENEWALS = 3

export interface FillRequest {
  /** relative to the root of the mount, or `inode:` and a number */
  readonly paths: readonly Name[]
  readonly threads: number
  /** answered at once, and goes on when nobody waits any more */
  readonly background: boolean
  readonly action: (typeof ACTIONS)[number]
}

/** By the names of the protocol. */
export interface FillAnswer {
  FileCount: number
  SliceCount: number
  TotalBytes: number
  /** not cached: found so by a check, or could not be fetched */
  MissBytes: number
  /** bytes by cache directory (or `memory`), of a check */
  Locations: Record<string, number>
}

/** A slice, and in which chunk it was found. */
interface FoundSlice extends SliceName {
  readonly ino: Ino
  readonly index: number
}

export interface FillParts {
  readonly meta: MetaClient
  readonly chunks: ChunkStore
  readonly log: Log
  readonly caller: () => Caller
  /** what the kernel calls inode 1 */
  readonly root: Ino
}

/** EINVAL for an action that there is not; RangeError where the request is too short. */
export function parseFillRequest(body: Buffer): FillRequest | Errno {
  const length = body.readUInt32BE(0)
  const threads = body.readUInt16BE(4 + length)
  const background = body.readUInt8(6 + length) !== 0
  const action = ACTIONS[body[7 + length] ?? 0]
  if (action === undefined) return EINVAL
  const paths = body
    .toString('latin1', 4, 4 + length)
    .split('\n')
    .filter(path => path !== '')
  return { paths, threads: Math.max(1, Math.min(threads, MOST_THREADS)), background, action }
}

export const nothingFilled = (): FillAnswer => ({
  FileCount: 0,
  SliceCount: 0,
  TotalBytes: 0,
  MissBytes: 0,
  Locations: {},
})

/** What cannot be found or fetched is logged. Rejects where the metadata cannot be read. */
export async function fillCache(
  parts: FillParts,
  request: FillRequest,
  progress: Progress,
  isCancelled: () => boolean,
): Promise<FillAnswer> {
  const answer = nothingFilled()
  await inParallel(slicesOf(parts, request, answer, progress, isCancelled), request.threads, async slice => {
    if (isCancelled()) return
    await fillSlice(parts, request.action, slice, answer, isCancelled)
    answer.SliceCount++
    answer.TotalBytes += slice.size
    progress.b += slice.size
  })
  return answer
}

async function fillSlice(
  parts: FillParts,
  action: FillRequest['action'],
  slice: FoundSlice,
  answer: FillAnswer,
  isCancelled: () => boolean,
): Promise<void> {
  const { chunks } = parts
  if (action === 'evict') return chunks.evict(slice)
  if (action === 'warm') return warm(parts, slice, answer, isCancelled, MOST_RENEWALS)
  for (const { place, bytes } of await chunks.places(slice)) {
    if (place === null) answer.MissBytes += bytes
    else answer.Locations[place] = (answer.Locations[place] ?? 0) + bytes
  }
}

async function warm(
  parts: FillParts,
  slice: FoundSlice,
  answer: FillAnswer,
  isCancelled: () => boolean,
  renewals: number,
): Promise<void> {
  const { meta, chunks, log } = parts
  try {
    await chunks.warm(slice, isCancelled)
  } catch (error) {
    // Compacted, overwritten or removed since it was listed: then what took its place is wanted.
    const now = await foundIn(meta, slice.ino, slice.index)
    if (renewals === 0 || now.some(({ id }) => id === slice.id)) {
      answer.MissBytes += slice.size
      log.warn(`warm up slice ${slice.id}: ${causeText(error)}`)
    } else for (const other of now) await warm(parts, other, answer, isCancelled, renewals - 1)
  }
}

async function foundIn(meta: MetaClient, ino: Ino, index: number): Promise<FoundSlice[]> {
  const [records] = (await meta.engine.gather([chunk(ino, index)], 'look')) as [Buffer | null]
  return records === null ? [] : slicesIn(records, ino, index)
}

/** What is seen of a chunk, each slice once. */
function slicesIn(records: Buffer, ino: Ino, index: number): FoundSlice[] {
  const slices = new Map(buildView(decodeRecords(records)).map(({ id, size }) => [id, size]))
  slices.delete(0) // holes
  return [...slices].map(([id, size]) => ({ id, size, ino, index }))
}

/** The slices of every file that the paths name or that lies below them, each once a chunk, as a whole. */
async function* slicesOf(
  { meta, log, caller, root }: FillParts,
  { paths }: FillRequest,
  answer: FillAnswer,
  progress: Progress,
  isCancelled: () => boolean,
): AsyncGenerator<FoundSlice, void> {
  for (const path of paths) {
    const found = await findPath(meta, caller, root, path)
    if (isErrno(found)) {
      log.warn(`fill cache: ${path}: ${errnoText(found)}`)
      continue
    }
    const pending = [found]
    for (let at = pending.pop(); at !== undefined && !isCancelled(); at = pending.pop()) {
      if (at.type === TYPE_DIRECTORY) {
        for await (const entry of meta.scan('entries', { parent: at.ino, attrs: false })) {
          if (entry.type === TYPE_DIRECTORY || entry.type === TYPE_FILE) pending.push(entry)
        }
      } else if (at.type === TYPE_FILE) {
        answer.FileCount++
        progress.a++
        for await (const { index, records } of meta.scan('chunks', { ino: at.ino })) {
          yield* slicesIn(records, at.ino, index)
        }
      }
    }
  }
}
