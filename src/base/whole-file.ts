/** Whole files in one trip through the thread pool (native/files.c), or in none where the kernel has the bytes at hand. Node's
 *  own calls need four trips to store a file and three to read one, and each wakes two threads: 60 to 100 µs on a machine of
 *  two cores, more than storing 128 KiB costs. Without the addon, node:fs does the same, slower. */

import fs from 'node:fs'
import { getSystemErrorName } from 'node:util'
import { addon } from './addon.ts'
import { call, ignore } from './call.ts'

interface NativeFiles {
  canSum(): boolean
  saveFile(
    temporary: string,
    path: string,
    flags: number,
    mode: number,
    keepOpen: boolean,
    summed: boolean,
    pieces: readonly Buffer[],
    done: (result: number, failedCall: number) => void,
  ): number
  loadFile(
    path: string,
    offset: number,
    bytes: Buffer,
    done: (result: number, failedCall: number) => void,
    summedBytes: number,
  ): number
  loadNow(path: string, bytes: Buffer): number
  openNow(path: string): number
  readNow(fd: number, bytes: Buffer, position: number, sums?: Buffer): number
  syncPath(path: string, how: number, done: (result: number, failedCall: number) => void): number
}

/** in the order of native/files.c */
const CALLS = ['open', 'write', 'close', 'rename', 'read', 'fsync']
const SYNC_DATA = 0
const SYNC_FILE = 1
const SYNC_FILE_SYSTEM = 2
const DROP = 3
const EAGAIN = -11
/** each so long has a checksum of its own (spec disk-cache section 2.1) */
export const SUMMED_BYTES = 32 << 10

export interface SaveOptions {
  readonly mode: number
  /** must not exist */
  readonly exclusive: boolean
  /** of the one piece, CRC-32C of each 32 KiB, big-endian, follow it: computed where it is written, not on the event loop. Absent:
   *  none. Only where `canSum()`. */
  readonly summed?: boolean
}

/** Can `saveFile` compute checksums? Not without the addon, nor on a processor without the instruction. */
export const canSum = (): boolean => (addon() as NativeFiles | null)?.canSum() ?? false

/** Writes the pieces (at most 4) one behind the other to `temporary`, which then becomes `path`; nothing is synced. Rejects as
 *  node:fs does (`code`, `syscall`); then `temporary` is gone, unless it could not be opened. */
export async function saveFile(
  temporary: string,
  path: string,
  pieces: readonly Buffer[],
  options: SaveOptions,
): Promise<void> {
  await save(temporary, path, pieces, options, false)
}

/** The same; resolves to a descriptor of the new file for reading, which the caller closes. */
export function saveFileAndOpen(
  temporary: string,
  path: string,
  pieces: readonly Buffer[],
  options: SaveOptions,
): Promise<number> {
  return save(temporary, path, pieces, options, true)
}

function save(
  temporary: string,
  path: string,
  pieces: readonly Buffer[],
  options: SaveOptions,
  keepOpen: boolean,
): Promise<number> {
  const native = addon() as NativeFiles | null
  if (native === null) return saveByCalls(temporary, path, pieces, options, keepOpen)
  return new Promise((resolve, reject) => {
    const flags = options.exclusive ? fs.constants.O_EXCL : 0
    const { mode, summed = false } = options
    const started = native.saveFile(temporary, path, flags, mode, keepOpen, summed, pieces, (result, failed) => {
      if (result < 0) reject(failure(result, failed, temporary))
      else resolve(result)
    })
    if (started < 0) reject(failure(started, 0, temporary))
  })
}

/** of the checksums of so many bytes */
export const sumsBytes = (length: number): number => 4 * Math.ceil(length / SUMMED_BYTES)

/** Fills `bytes` from `offset` on and resolves to how many were read: fewer only where the file ends. Rejects as node:fs does.
 *  `summedBytes` (only where `canSum()`): the last bytes of `bytes` are no room for the file, they get the checksums (CRC-32C of each
 *  32 KiB, big-endian) of the first so many bytes read, computed off the event loop, if there were so many. */
export function loadFile(path: string, offset: number, bytes: Buffer, summedBytes = 0): Promise<number> {
  const native = addon() as NativeFiles | null
  if (native === null) return loadByCalls(path, offset, bytes)
  return new Promise((resolve, reject) => {
    const done = (result: number, failed: number): void => {
      if (result < 0) reject(failure(result, failed, path))
      else resolve(result)
    }
    const started = native.loadFile(path, offset, bytes, done, summedBytes)
    if (started < 0) reject(failure(started, 0, path))
  })
}

/** Fills `bytes` from the start of the file if that needs no disk, and returns how many were read (fewer where it ends); null
 *  where it would have to wait, or where this cannot be told (no addon, kernel before 5.12). It never waits: for the event loop. */
export function loadNow(path: string, bytes: Buffer): number | null {
  const native = addon() as NativeFiles | null
  const result = native === null ? EAGAIN : native.loadNow(path, bytes)
  return result < 0 ? null : result
}

/** The same from `position` of an open file. `sums` (only where `canSum()`) gets the checksums of what was read, as `loadFile` does. */
export function readNow(fd: number, bytes: Buffer, position: number, sums?: Buffer): number | null {
  const native = addon() as NativeFiles | null
  const result = native === null ? EAGAIN : native.readNow(fd, bytes, position, sums)
  return result < 0 ? null : result
}

/** A descriptor for reading, which the caller closes; null where it would have to wait, or where there is no such file. */
export function openNow(path: string): number | null {
  const native = addon() as NativeFiles | null
  const result = native === null ? EAGAIN : native.openNow(path)
  return result < 0 ? null : result
}

/** fdatasync(2) of a file: its bytes, and what is needed to find them. Rejects as node:fs does. */
export const syncData = (path: string): Promise<void> => sync(path, SYNC_DATA, fs.fdatasync)

/** fsync(2) of a directory: the names in it. */
export const syncDirectory = (path: string): Promise<void> => sync(path, SYNC_FILE, fs.fsync)

/** syncfs(2) of the file system that holds the path. False where there is no call for it (no addon). */
export async function syncFileSystem(path: string): Promise<boolean> {
  if (addon() === null) return false
  await sync(path, SYNC_FILE_SYSTEM, fs.fsync)
  return true
}

/** Asks the kernel to forget the bytes of a file that it keeps in memory. Without the addon it is not asked. */
export async function dropCached(path: string): Promise<void> {
  if (addon() !== null) await sync(path, DROP, fs.fsync)
}

async function sync(path: string, how: number, byCall: (fd: number, done: fs.NoParamCallback) => void): Promise<void> {
  const native = addon() as NativeFiles | null
  if (native === null) {
    const fd = await call<number>(done => fs.open(path, 'r', done))
    return call<void>(done => byCall(fd, done)).finally(() => fs.close(fd, ignore))
  }
  return new Promise((resolve, reject) => {
    const started = native.syncPath(path, how, (result, failed) => {
      if (result < 0) reject(failure(result, failed, path))
      else resolve()
    })
    if (started < 0) reject(failure(started, 0, path))
  })
}

function failure(result: number, failedCall: number, path: string): NodeJS.ErrnoException {
  const [code, syscall] = [getSystemErrorName(result), CALLS[failedCall] ?? 'open']
  return Object.assign(new Error(`${code}: ${syscall} '${path}'`), { code, errno: result, syscall, path })
}

async function saveByCalls(
  temporary: string,
  path: string,
  pieces: readonly Buffer[],
  options: SaveOptions,
  keepOpen: boolean,
): Promise<number> {
  const { O_WRONLY, O_CREAT, O_EXCL } = fs.constants
  const flags = O_WRONLY | O_CREAT | (options.exclusive ? O_EXCL : 0)
  const fd = await call<number>(done => fs.open(temporary, flags, options.mode, done))
  try {
    try {
      let position = 0
      for (const piece of pieces) {
        for (let at = 0; at < piece.length; ) {
          at += await call<number>(done => fs.write(fd, piece, at, piece.length - at, position + at, done))
        }
        position += piece.length
      }
    } finally {
      // awaited: some file systems (NFS, quotas) report a failed write only here
      await call<void>(done => fs.close(fd, done))
    }
    await call<void>(done => fs.rename(temporary, path, done))
  } catch (error) {
    await call<void>(done => fs.unlink(temporary, done)).catch(ignore)
    throw error
  }
  return keepOpen ? await call<number>(done => fs.open(path, 'r', done)) : 0
}

async function loadByCalls(path: string, offset: number, bytes: Buffer): Promise<number> {
  const fd = await call<number>(done => fs.open(path, 'r', done))
  try {
    let filled = 0
    while (filled < bytes.length) {
      const got = await call<number>(done => fs.read(fd, bytes, filled, bytes.length - filled, offset + filled, done))
      if (got === 0) break
      filled += got
    }
    return filled
  } finally {
    fs.close(fd, ignore)
  }
}
