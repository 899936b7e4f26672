/** The virtual files of a mount (spec vfs section 7): `.accesslog`, `.stats`, `.config`, `.control`. */

import type { Name } from '../../base/bytes.ts'
import { readU64 } from '../../base/bytes.ts'
import type { Time } from '../../base/clock.ts'
import { EACCES, EBADF, EINVAL, ENOENT, EPERM, type Errno, isErrno } from '../../base/errno.ts'
import { causeText } from '../../base/fault.ts'
import { ACCESSLOG_INO, CONFIG_INO, CONTROL_INO, type Ino, inoFromHalves, ROOT_INO, STATS_INO } from '../../base/ino.ts'
import type { Log } from '../../base/log.ts'
import type { Maybe } from '../../base/maybe.ts'
import type { ChunkStore } from '../../chunk/chunk-store.ts'
import type { MetaClient } from '../../meta/client.ts'
import { type Attr, TYPE_FILE } from '../../meta/model/attr.ts'
import type { Caller } from '../../meta/model/caller.ts'
import type { Context, Entry } from '../file-system.ts'
import type { InternalFiles } from '../internal-files.ts'
import { AccessLog } from './access-log.ts'
import {
  type ControlAnswer,
  ControlStream,
  OP_COMPACT,
  OP_FILL_CACHE,
  OP_INFO,
  OP_LEGACY_INFO,
  OP_RMR,
  OP_SUMMARY,
  type Progress,
} from './control.ts'
import { fillCache, nothingFilled, parseFillRequest } from './fill-cache.ts'
import { inspect, jsonWithInodes, legacyInfoText, summaryTree } from './inspect.ts'

/** What `.control` may start; plugged in by whoever runs the mount. */
export interface Jobs {
  /** Removes an entry and everything below it, as this caller; counts removed entries in `progress.a`. */
  removeTree(
    caller: () => Caller,
    parent: Ino,
    name: Name,
    options: { readonly skipTrash: boolean; readonly onRemoved: () => void; readonly isCancelled: () => boolean },
  ): Promise<Errno | undefined>
  /** Compacts every chunk of a file, or of all files below a directory, so many at a time. */
  compactTree(ino: Ino, threads: number, progress: Progress, isCancelled: () => boolean): Promise<Errno | undefined>
}

export interface VirtualFilesOptions {
  readonly meta: MetaClient
  readonly chunks: ChunkStore
  readonly jobs: Jobs
  readonly log: Log
  /** names get the prefix `.jfs` */
  readonly prefixInternal: boolean
  /** what the kernel calls inode 1 */
  readonly subdirRoot: Ino
  readonly startedAt: Time
  readonly uid: number
  readonly gid: number
  readonly stats: () => string
  /** the running configuration, secrets removed */
  readonly config: () => object
  readonly callerOf: (ctx: Context) => Caller
  /** a removed name that the kernel may still know */
  readonly forgetEntry: (parent: Ino, name: Name) => void
}

const O_ACCMODE = 3
const files: readonly [name: string, ino: Ino, mode: number][] = [
  ['.accesslog', ACCESSLOG_INO, 0o400],
  ['.stats', STATS_INO, 0o444],
  ['.config', CONFIG_INO, 0o400],
  ['.control', CONTROL_INO, 0o666],
]

export class VirtualFiles implements InternalFiles {
  readonly accessLog: AccessLog
  readonly rootEntries: InternalFiles['rootEntries']
  readonly #options: VirtualFilesOptions
  readonly #byName = new Map<Name, Entry>()
  readonly #byIno = new Map<Ino, Entry>()
  /** snapshots of `.stats` and `.config`, streams of `.control`, by handle */
  readonly #snapshots = new Map<number, Buffer>()
  readonly #streams = new Map<number, ControlStream>()
  #closed = false

  constructor(options: VirtualFilesOptions) {
    this.#options = options
    this.accessLog = new AccessLog(options.log)
    for (const [name, ino, mode] of files) {
      const entry = { ino, attr: this.#attr(mode) }
      this.#byName.set(options.prefixInternal ? `.jfs${name}` : name, entry)
      this.#byIno.set(ino, entry)
    }
    // `.control` is found by name everywhere, and listed nowhere.
    this.rootEntries = [...this.#byName]
      .filter(([, { ino }]) => ino !== CONTROL_INO)
      .map(([name, entry]) => ({ name, entry }))
  }

  lookup(parent: Ino, name: Name): Entry | undefined {
    const entry = this.#byName.get(name)
    return entry !== undefined && (parent === ROOT_INO || entry.ino === CONTROL_INO) ? entry : undefined
  }

  getattr(ino: Ino): Attr | Errno {
    return this.#byIno.get(ino)?.attr ?? ENOENT
  }

  open(ctx: Context, ino: Ino, fh: number, flags: number): Errno | undefined {
    if (ino !== CONTROL_INO && (flags & O_ACCMODE) !== 0) return EACCES
    if (ino === ACCESSLOG_INO) this.accessLog.open(fh)
    else if (ino === STATS_INO) this.#snapshots.set(fh, Buffer.from(this.#options.stats()))
    else if (ino === CONFIG_INO) this.#snapshots.set(fh, Buffer.from(JSON.stringify(this.#options.config(), null, 1)))
    else if (ino === CONTROL_INO) this.#streams.set(fh, this.#control(ctx))
    else return ENOENT
    return undefined
  }

  read(_ctx: Context, ino: Ino, fh: number, offset: number, size: number): Maybe<readonly Buffer[] | Errno> {
    if (ino === ACCESSLOG_INO) return this.accessLog.read(fh, size).then(line => [line])
    if (ino === CONTROL_INO) {
      const piece = this.#streams.get(fh)?.read(offset, size) ?? EBADF
      return isErrno(piece) ? piece : [piece]
    }
    const snapshot = this.#snapshots.get(fh)
    return snapshot === undefined ? EBADF : [snapshot.subarray(offset, offset + size)]
  }

  write(_ctx: Context, ino: Ino, fh: number, _offset: number, data: Buffer): Maybe<undefined | Errno> {
    const stream = ino === CONTROL_INO ? this.#streams.get(fh) : undefined
    if (stream === undefined) return EACCES
    stream.write(Buffer.from(data))
    return undefined
  }

  flush(_ino: Ino, fh: number): void {
    this.#streams.get(fh)?.close()
  }

  release(ino: Ino, fh: number): void {
    if (ino === ACCESSLOG_INO) this.accessLog.close(fh)
    this.#streams.get(fh)?.close()
    this.#streams.delete(fh)
    this.#snapshots.delete(fh)
  }

  /** The mount ends: what goes on in the background is told to stop. */
  close(): void {
    this.#closed = true
  }

  #attr(mode: number): Attr {
    const { startedAt, uid, gid } = this.#options
    const times = { atime: startedAt, mtime: startedAt, ctime: startedAt }
    const none = { flags: 0, rdev: 0, accessAcl: 0, defaultAcl: 0, tier: 0, length: 0, nlink: 1 }
    return { type: TYPE_FILE, mode, uid, gid, ...times, ...none, parent: ROOT_INO }
  }

  #control(ctx: Context): ControlStream {
    return new ControlStream((opcode, body, progress, isCancelled) =>
      this.#answer(ctx, opcode, body, progress, isCancelled),
    )
  }

  /** A body that is too short throws RangeError, which is answered EINVAL; so is an opcode we do not serve. */
  async #answer(
    ctx: Context,
    opcode: number,
    body: Buffer,
    progress: Progress,
    isCancelled: () => boolean,
  ): Promise<ControlAnswer> {
    const { meta, chunks, jobs } = this.#options
    switch (opcode) {
      case OP_INFO:
      case OP_LEGACY_INFO: {
        const top = this.#options.subdirRoot
        const options = { recursive: body[8] !== 0, raw: (body[9] ?? 0) !== 0, top }
        const told = await inspect(meta, chunks, this.#ino(body), options, progress, isCancelled)
        if (opcode === OP_INFO) return { json: jsonWithInodes(told.json) }
        return { legacyText: legacyInfoText(this.#ino(body), told.totals, told.paths, told.objects) }
      }
      case OP_SUMMARY: {
        const tree = await summaryTree(
          meta,
          this.#ino(body),
          { depth: body[8] ?? 3, topN: body[9] ?? 10 },
          progress,
          isCancelled,
        )
        return isErrno(tree) ? tree : { json: jsonWithInodes({ Errno: 0, Tree: tree }) }
      }
      case OP_RMR: {
        const length = body.readUInt8(8)
        const name = body.toString('latin1', 9, 9 + length)
        const parent = this.#ino(body)
        const skipTrash = ((body[9 + length] ?? 0) & 1) !== 0
        if (skipTrash && ctx.uid !== 0) return EPERM
        const onRemoved = (): void => {
          progress.a++
        }
        const failed = await jobs.removeTree(() => this.#options.callerOf(ctx), parent, name, {
          skipTrash,
          onRemoved,
          isCancelled,
        })
        // The kernel knows the root of the mount as 1, whatever directory of the volume it is.
        this.#options.forgetEntry(parent === this.#options.subdirRoot ? ROOT_INO : parent, name)
        return failed
      }
      case OP_COMPACT:
        return jobs.compactTree(this.#ino(body), body.readUInt16BE(8), progress, isCancelled)
      case OP_FILL_CACHE:
        return this.#fillCache(ctx, body, progress, isCancelled)
      default:
        return EINVAL
    }
  }

  async #fillCache(ctx: Context, body: Buffer, progress: Progress, isCancelled: () => boolean): Promise<ControlAnswer> {
    const request = parseFillRequest(body)
    if (isErrno(request)) return request
    const { meta, chunks, log, subdirRoot, callerOf } = this.#options
    const parts = { meta, chunks, log, root: subdirRoot, caller: () => callerOf(ctx) }
    if (!request.background) return { json: JSON.stringify(await fillCache(parts, request, progress, isCancelled)) }
    fillCache(parts, request, { a: 0, b: 0 }, () => this.#closed).then(
      ({ FileCount, TotalBytes }) =>
        log.info(`fill cache: ${request.action} of ${FileCount} files (${TotalBytes} bytes) done`),
      error => log.error(`fill cache: ${causeText(error)}`),
    )
    return { json: JSON.stringify(nothingFilled()) }
  }

  #ino(body: Buffer): Ino {
    readU64(body, 0) // RangeError where the body is too short
    const ino = inoFromHalves(body.readUInt32BE(4), body.readUInt32BE(0))
    return ino === ROOT_INO ? this.#options.subdirRoot : ino
  }
}
