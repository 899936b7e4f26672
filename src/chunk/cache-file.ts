/** One block in the disk cache (spec disk-cache sections 2.1 and 2.2). JuiceFS may share the directory, so: to the byte.
 *
 *      0            blockLen            + 4 · ceil(blockLen / 32 KiB)
 *      ├─ plain data ─┼─ CRC-32C of each 32 KiB, big-endian ─┼─ footer, staged blocks only ─┤
 *
 *  A file of exactly blockLen bytes has no checksums; an odd surplus is a footer without checksums. */

import fs from 'node:fs'
import { setImmediate as turn } from 'node:timers/promises'
import { crc32c } from '@node-rs/crc32'
import { takeBuffer } from '../base/buffer-pool.ts'
import { call, ignore } from '../base/call.ts'
import { ownBytes } from '../base/own-memory.ts'
import {
  canSum,
  loadFile,
  loadNow,
  openNow,
  readNow,
  SUMMED_BYTES,
  saveFile,
  saveFileAndOpen,
  sumsBytes,
} from '../base/whole-file.ts'

export type VerifyLevel = 'none' | 'full' | 'shrink' | 'extend'

/** Up to so many are copied on the event loop (some 25 µs) where they are in the kernel's memory: a trip through the thread pool
 *  costs more. */
const READ_NOW_BYTES = 256 << 10
/** The same for a part of an open file: the longest request of the kernel, and what its checksums are of around it (100 to 200 µs). */
const PART_NOW_BYTES = (1 << 20) + 2 * SUMMED_BYTES
/** 4.5 µs a piece: so many stay well below a millisecond on the event loop */
const PIECES_A_TURN = 32

/** of one read, which is over before the next begins */
const foundSums = Buffer.allocUnsafeSlow(sumsBytes(PART_NOW_BYTES))
const lastByte = Buffer.allocUnsafeSlow(1)

/** The cached bytes are not what was written. */
export class CorruptCacheFile extends Error {}

/** Writes `{path}.tmp` and renames it. Not truncated and not exclusive, as JuiceFS does it: two clients that cache the same
 *  block at once write the same bytes. No sync: after a crash the checksums tell. A small file stays open and is returned: it is
 *  likely read soon, and opening it would cost more than reading it. */
export async function writeCacheFile(
  path: string,
  data: Buffer,
  options: { readonly mode: number; readonly checksums: boolean },
): Promise<CacheFile | null> {
  const temporary = `${path}.tmp`
  const how = { mode: options.mode, exclusive: false }
  if (data.length > READ_NOW_BYTES && options.checksums && canSum()) {
    await saveFile(temporary, path, [data], { ...how, summed: true })
    return null
  }
  const sums = options.checksums ? await checksums(data) : null
  const pieces = sums ? [data, sums] : [data]
  if (data.length > READ_NOW_BYTES) {
    await saveFile(temporary, path, pieces, how)
    return null
  }
  return new CacheFile(await saveFileAndOpen(temporary, path, pieces, how), data.length, sums)
}

/** Reads and verifies the whole block: data and what follows come in one read. */
export async function readCacheFile(path: string, blockBytes: number, level: VerifyLevel): Promise<Buffer> {
  return (await readStagedFile(path, blockBytes, level)).data
}

/** The same; `footer`: what follows the checksums. */
export async function readStagedFile(
  path: string,
  blockBytes: number,
  level: VerifyLevel,
): Promise<{ readonly data: Buffer; readonly footer: Buffer }> {
  const { bytes, found } = await loadCached(path, blockBytes, level !== 'none')
  if (bytes.length < blockBytes)
    throw new CorruptCacheFile(`the file has ${bytes.length} bytes instead of ${blockBytes}`)
  const data = bytes.subarray(0, blockBytes)
  const surplus = bytes.subarray(blockBytes)
  const sums = checksumsIn(surplus, blockBytes)
  if (sums && level !== 'none') {
    if (found) compare(found, sums, 0)
    else await verify(data, 0, sums, blockBytes)
  }
  return { data, footer: surplus.subarray(sums?.length ?? 0) }
}

/** The file: at once where it is short and the kernel has it, else by one trip through the thread pool. `found`: the checksums of
 *  the block that was read, where they were wanted and computed on the way; null: they were not. */
async function loadCached(
  path: string,
  blockBytes: number,
  summed: boolean,
): Promise<{ readonly bytes: Buffer; readonly found: Buffer | null }> {
  const most = blockBytes + surplusBytes(blockBytes)
  if (most <= READ_NOW_BYTES) {
    const bytes = Buffer.allocUnsafeSlow(most)
    const got = loadNow(path, bytes) ?? (await loadFile(path, 0, bytes))
    return { bytes: bytes.subarray(0, got), found: null }
  }
  const sumsLength = summed && canSum() ? sumsBytes(blockBytes) : 0
  const buffer = ownBytes(most + sumsLength)
  const got = await loadFile(path, 0, buffer, sumsLength > 0 ? blockBytes : 0)
  return { bytes: buffer.subarray(0, got), found: sumsLength > 0 ? buffer.subarray(most) : null }
}

/** An open cache file, for reading parts: kept open while it is read often, since opening costs more than reading 4 KiB. */
export class CacheFile {
  readonly #fd: number
  readonly #blockBytes: number
  /** undefined = not read yet, null = the file has none */
  #sums: Buffer | null | undefined
  #isExact = false
  #readers = 0
  #closing = false

  /** `sums`: what is known of the checksums (see there). */
  constructor(fd: number, blockBytes: number, sums: Buffer | null | undefined) {
    this.#fd = fd
    this.#blockBytes = blockBytes
    this.#sums = sums
  }

  static async open(path: string, blockBytes: number): Promise<CacheFile> {
    return new CacheFile(await call<number>(done => fs.open(path, 'r', done)), blockBytes, undefined)
  }

  /** Null where opening would have to wait. */
  static openNow(path: string, blockBytes: number): CacheFile | null {
    const fd = openNow(path)
    return fd === null ? null : new CacheFile(fd, blockBytes, undefined)
  }

  /** As `read`, on the event loop, into a pooled buffer (buffer-pool.ts); null where it would have to wait, for a disk or
   *  because it is long. Throws CorruptCacheFile. */
  readNow(off: number, len: number, level: VerifyLevel): Buffer | null {
    if (len > PART_NOW_BYTES - 2 * SUMMED_BYTES) return null
    if (!this.#isVerified(len, level)) return this.#dataNow(off, len)
    if (this.#sums === undefined) this.#sums = this.#sumsNow()
    if (this.#sums === null) return this.#dataNow(off, len)
    const isWide = level === 'extend'
    if (this.#sums === undefined || !canSum() || (!isWide && off % SUMMED_BYTES !== 0)) return null
    const from = off - (off % SUMMED_BYTES)
    const end = isWide ? Math.min(roundUp(off + len), this.#blockBytes) : off + len
    const wide = takeBuffer(end - from)
    const got = readNow(this.#fd, wide, from, foundSums.subarray(0, sumsBytes(wide.length)))
    if (got === null) return null
    if (got < wide.length) throw new CorruptCacheFile(`the file ends at ${from + got}`)
    const pieces =
      end === this.#blockBytes ? Math.ceil(wide.length / SUMMED_BYTES) : Math.floor(wide.length / SUMMED_BYTES)
    compare(foundSums.subarray(0, 4 * pieces), this.#sums, from / SUMMED_BYTES)
    return wide.subarray(off - from, off - from + len)
  }

  /** Does the file end where the block does, and does the kernel know without looking? Then there are no checksums either. */
  get isExact(): boolean {
    this.#isExact ||= readNow(this.#fd, lastByte, this.#blockBytes) === 0
    return this.#isExact
  }

  /** Does the kernel have the end of the block at hand? Then it likely has all of it. */
  isAtHand(): boolean {
    return readNow(this.#fd, lastByte, this.#blockBytes - 1) === 1
  }

  #isVerified(len: number, level: VerifyLevel): boolean {
    return level !== 'none' && (level !== 'full' || len === this.#blockBytes)
  }

  #dataNow(off: number, len: number): Buffer | null {
    const data = takeBuffer(len)
    const got = readNow(this.#fd, data, off)
    if (got !== null && got < len) throw new CorruptCacheFile(`the file ends at ${off + got}`)
    return got === null ? null : data
  }

  /** undefined = not without waiting */
  #sumsNow(): Buffer | null | undefined {
    const surplus = Buffer.allocUnsafeSlow(surplusBytes(this.#blockBytes))
    const got = readNow(this.#fd, surplus, this.#blockBytes)
    return got === null ? undefined : checksumsIn(surplus.subarray(0, got), this.#blockBytes)
  }

  /** Bytes [off, off + len) in a buffer of their own, verified as the level says. */
  async read(off: number, len: number, level: VerifyLevel): Promise<Buffer> {
    this.#readers++
    try {
      if (!this.#isVerified(len, level)) return await this.#readData(off, len)
      if (this.#sums === undefined) this.#sums = await this.#readSums()
      if (this.#sums === null) return await this.#readData(off, len)
      if (level !== 'extend') return await this.#readVerified(off, len, this.#sums)
      const from = off - (off % SUMMED_BYTES)
      const end = Math.min(roundUp(off + len), this.#blockBytes)
      const wide = await this.#readVerified(from, end - from, this.#sums)
      return wide.subarray(off - from, off - from + len)
    } finally {
      this.#readers--
      this.#closeIfUnused()
    }
  }

  /** Closes the file when its last reader has ended. */
  close(): void {
    this.#closing = true
    this.#closeIfUnused()
  }

  #closeIfUnused(): void {
    if (this.#closing && this.#readers === 0) {
      this.#readers = Number.NEGATIVE_INFINITY // once only
      fs.close(this.#fd, ignore)
    }
  }

  async #readVerified(off: number, len: number, sums: Buffer): Promise<Buffer> {
    const data = await this.#readData(off, len)
    await verify(data, off, sums, this.#blockBytes)
    return data
  }

  async #readData(off: number, len: number): Promise<Buffer> {
    const data = ownBytes(len)
    const got = await readUpTo(this.#fd, data, off)
    if (got < len) throw new CorruptCacheFile(`the file ends at ${off + got}`)
    return data
  }

  async #readSums(): Promise<Buffer | null> {
    const surplus = Buffer.allocUnsafeSlow(surplusBytes(this.#blockBytes))
    const got = await readUpTo(this.#fd, surplus, this.#blockBytes)
    return checksumsIn(surplus.subarray(0, got), this.#blockBytes)
  }
}

/** Verifies every piece that lies entirely inside `data`, which begins at `off` of the block. */
async function verify(data: Buffer, off: number, sums: Buffer, blockBytes: number): Promise<void> {
  const end = off + data.length
  let inTurn = 0
  for (let index = Math.ceil(off / SUMMED_BYTES); index * SUMMED_BYTES < end; index++) {
    const pieceEnd = Math.min((index + 1) * SUMMED_BYTES, blockBytes)
    if (pieceEnd > end) break
    const piece = data.subarray(index * SUMMED_BYTES - off, pieceEnd - off)
    if (crc32c(piece) !== sums.readUInt32BE(index * 4)) {
      throw new CorruptCacheFile(`checksum of bytes ${index * SUMMED_BYTES} to ${pieceEnd} is wrong`)
    }
    if (++inTurn % PIECES_A_TURN === 0) await turn()
  }
}

/** The checksums that were found are those stored for the pieces from `first` on. */
function compare(found: Buffer, stored: Buffer, first: number): void {
  if (found.compare(stored, 4 * first, 4 * first + found.length) === 0) return
  let piece = 0
  while (found.readUInt32BE(4 * piece) === stored.readUInt32BE(4 * (first + piece))) piece++
  throw new CorruptCacheFile(`checksum of the ${SUMMED_BYTES} bytes from ${(first + piece) * SUMMED_BYTES} on is wrong`)
}

/** CRC-32C of each 32 KiB piece, big-endian, one behind the other. */
export async function checksums(data: Buffer): Promise<Buffer> {
  const sums = Buffer.allocUnsafeSlow(sumsBytes(data.length))
  for (let index = 0; index * SUMMED_BYTES < data.length; index++) {
    sums.writeUInt32BE(crc32c(data.subarray(index * SUMMED_BYTES, (index + 1) * SUMMED_BYTES)), index * 4)
    if ((index + 1) % PIECES_A_TURN === 0) await turn()
  }
  return sums
}

const roundUp = (offset: number): number => Math.ceil(offset / SUMMED_BYTES) * SUMMED_BYTES

/** What may follow the data: checksums and a footer of 18 or 20 bytes. Asking for a little more tells where the file ends. */
const surplusBytes = (blockBytes: number): number => sumsBytes(blockBytes) + 64

/** The opening rule: what the surplus over the data means. */
function checksumsIn(surplus: Buffer, blockBytes: number): Buffer | null {
  if (surplus.length === 0 || surplus.length % 4 !== 0) return null
  const length = sumsBytes(blockBytes)
  if (surplus.length < length || surplus.length === surplusBytes(blockBytes)) {
    throw new CorruptCacheFile(`${surplus.length} bytes or more after the data are neither checksums nor a footer`)
  }
  return surplus.subarray(0, length)
}

/** Bytes read: fewer than the buffer holds only where the file ends. */
async function readUpTo(fd: number, into: Buffer, position: number): Promise<number> {
  const now = into.length <= READ_NOW_BYTES ? readNow(fd, into, position) : null
  if (now !== null) return now
  let at = 0
  while (at < into.length) {
    const got = await call<number>(done => fs.read(fd, into, at, into.length - at, position + at, done))
    if (got === 0) break
    at += got
  }
  return at
}
