/** Serves one mount: takes requests from a transport, asks the file system, sends the answers; and the rest of the
 *  conversation: INIT, FORGET, INTERRUPT, DESTROY.
 *
 *  Faults end here: they are logged once, with operation, inode and cause, and answered with their errno. Nothing that a
 *  handler does wrong ends the process. */

import { returnBuffers } from '../base/buffer-pool.ts'
import {
  EAGAIN,
  EINTR,
  EINVAL,
  EIO,
  ENODEV,
  ENOENT,
  ENOSYS,
  type Errno,
  ESTALE,
  errnoName,
  isErrno,
} from '../base/errno.ts'
import { causeText, Fault } from '../base/fault.ts'
import { inoToString } from '../base/ino.ts'
import type { Log } from '../base/log.ts'
import { isPromise } from '../base/maybe.ts'
import type { FileSystem, Invalidator } from '../vfs/file-system.ts'
import { type AccessLogHook, AccessTrace, describeArguments } from './access-trace.ts'
import { Call } from './call.ts'
import * as K from './constants.ts'
import { DirentMemory, EntryEncoder } from './encode.ts'
import { InFlight } from './in-flight.ts'
import { type Agreed, agree, INIT_OUT_BYTES, type InitOptions, MAJOR, OLDEST_MINOR, putInitOut } from './init.ts'
import { KernelNotifier } from './notify.ts'
import type { Bench, Operation } from './operation.ts'
import { OF_INODES, OPERATIONS } from './operations.ts'
import { PrivilegeKeeper } from './privileges.ts'
import { raiseReadAhead } from './read-ahead.ts'
import type { FuseTransport } from './transport.ts'
import type { FuseRequest } from './wire.ts'
import { SETXATTR_SHORT } from './xattr-operations.ts'

export interface FuseServerOptions {
  /** bytes; what the transport was opened with */
  readonly maxWrite: number
  /** default MAX_BACKGROUND */
  readonly maxBackground?: number
  /** the volume has POSIX ACLs: the kernel checks them, and leaves the umask to us */
  readonly acl: boolean
  readonly writebackCache: boolean
  /** With the write-back cache the kernel keeps mtime itself and sends it when somebody, not always the owner, closes the file; a
   *  touch to "now" comes as a time too. True where it has checked that they may (default_permissions, nobody squashed). */
  readonly kernelKeepsTimes?: boolean
  readonly asyncDio: boolean
  readonly posixLocks?: boolean
  readonly flockLocks?: boolean
  readonly readdirplus?: boolean
  /** take set-user-id bits and capabilities away ourselves (privileges.ts); default true */
  readonly killPrivileges?: boolean
  readonly log: Log
  /** after every request, in microseconds; errno 0 is success; bytes asked for (read) or given (write), else 0 or what the answer may have */
  readonly onRequest?: (name: string, micros: number, errno: number, bytes: number) => void
  readonly accessLog?: AccessLogHook
}

/** requests that the kernel sends ahead without anybody waiting, unless told otherwise */
export const MAX_BACKGROUND = 64
const MAX_DIRENT_MEMORIES = 4

export class FuseServer {
  readonly invalidator: Invalidator
  /** Resolves when the kernel has let go of the mount and no more requests come. */
  readonly closed: Promise<void>
  readonly #transport: FuseTransport
  readonly #fs: FileSystem
  readonly #log: Log
  readonly #init: InitOptions
  readonly #onRequest: FuseServerOptions['onRequest']
  readonly #trace: AccessTrace | null
  readonly #notifier: KernelNotifier
  readonly #inFlight: InFlight
  readonly #isTimed: boolean
  readonly #keepsTimes: boolean
  readonly #unknownOpcodes = new Set<number>()
  readonly #direntMemories: DirentMemory[] = []
  readonly #started: Promise<void>
  #bench: Bench
  #hasShortSetxattr = false
  #isClosed = false
  #reportStarted: (problem: Fault | null) => void = () => {}
  #reportClosed: () => void = () => {}

  constructor(transport: FuseTransport, fs: FileSystem, options: FuseServerOptions) {
    this.#transport = transport
    this.#fs = fs
    this.#log = options.log
    this.#onRequest = options.onRequest
    this.#trace = options.accessLog ? new AccessTrace(options.accessLog) : null
    this.#isTimed = options.onRequest !== undefined || options.accessLog !== undefined
    this.#keepsTimes = options.writebackCache && options.kernelKeepsTimes === true
    this.#init = {
      maxWrite: options.maxWrite,
      maxBackground: options.maxBackground ?? MAX_BACKGROUND,
      acl: options.acl,
      writebackCache: options.writebackCache,
      asyncDio: options.asyncDio,
      posixLocks: options.posixLocks ?? true,
      flockLocks: options.flockLocks ?? true,
      readdirplus: options.readdirplus ?? true,
      killPrivileges: options.killPrivileges ?? true,
    }
    this.#notifier = new KernelNotifier(transport, options.log)
    this.invalidator = this.#notifier
    this.#inFlight = new InFlight(call => this.#answerError(call, EINTR))
    this.#bench = this.#newBench(null)
    this.closed = new Promise(resolve => {
      this.#reportClosed = resolve
    })
    this.#started = new Promise((resolve, reject) => {
      this.#reportStarted = problem => (problem ? reject(problem) : resolve())
    })
  }

  /** Begins to serve; resolves when the kernel and we have agreed (INIT). A Fault when the kernel is too old. */
  start(): Promise<void> {
    this.#transport.start(
      (requests, count) => {
        for (let i = 0; i < count; i++) this.#serve(requests[i]!)
      },
      errno => void this.#end(errno),
    )
    return this.#started
  }

  /** Requests whose handlers run now. */
  get inFlight(): number {
    return this.#inFlight.count
  }
  /** Resolves when no handler runs. */
  drain(): Promise<void> {
    return this.#inFlight.idle()
  }

  #newBench(privileges: PrivilegeKeeper | null): Bench {
    return {
      fs: this.#fs,
      entries: new EntryEncoder(this.#fs.timeouts),
      out: this.#transport.out,
      privileges,
      kernelKeepsTimes: this.#keepsTimes,
      takeDirentMemory: bytes => this.#takeDirentMemory(bytes),
      answerNow: (call, value) => {
        const operation = OPERATIONS[call.opcode]
        if (operation !== undefined && !call.isAnswered) this.#send(operation, call, value)
      },
    }
  }

  #serve(request: FuseRequest): void {
    let operation = OPERATIONS[request.opcode]
    if (operation === undefined) {
      this.#converse(request)
      return
    }
    if (this.#hasShortSetxattr && request.opcode === K.SETXATTR) operation = SETXATTR_SHORT
    const call = new Call(request)
    if (this.#isTimed) call.startedMs = performance.now()
    if (this.#trace?.isWanted) call.described = describeArguments(request)
    let result: unknown
    try {
      result = operation.ask(this.#bench, call, request)
    } catch (error) {
      this.#answerFault(operation, call, error)
      return
    }
    if (isPromise(result)) this.#serveLater(operation, call, request, result)
    else this.#answer(operation, call, result)
  }

  #serveLater(operation: Operation, call: Call, request: FuseRequest, result: Promise<unknown>): void {
    // Only data to be written is used after the first await; everything else was copied out of the request.
    if (request.opcode === K.WRITE) call.held = this.#transport.hold(request)
    this.#inFlight.add(call)
    result.then(
      value => {
        this.#settled(call)
        this.#answer(operation, call, value)
      },
      error => {
        this.#settled(call)
        this.#answerFault(operation, call, error)
      },
    )
  }

  #settled(call: Call): void {
    if (call.held) this.#transport.release(call.held)
    call.held = null
    this.#inFlight.remove(call)
  }

  #answer(operation: Operation, call: Call, value: unknown): void {
    if (isErrno(value)) {
      if (value === ENOENT && call.opcode === K.LOOKUP && this.#bench.entries.remembersAbsence) {
        this.#sent(call, this.#transport.replyOut(call, this.#bench.entries.absentOut(this.#transport.out.u32, 4)))
        this.#finished(operation, call, value, undefined)
      } else this.#answerErrorOf(operation, call, value === ENOENT && OF_INODES[call.opcode] ? ESTALE : value)
      return
    }
    if (!call.isAnswered && !this.#send(operation, call, value)) return
    this.#finished(operation, call, 0, value)
  }

  /** Whether the answer was the value; else it was an error. */
  #send(operation: Operation, call: Call, value: unknown): boolean {
    const { encode } = operation
    let reply = 0
    try {
      const encoded = encode === null ? 0 : encode(this.#bench, call, value)
      if (typeof encoded !== 'number') reply = this.#sendData(call, encoded)
      else if (encoded >= 0) reply = this.#transport.replyOut(call, encoded)
      else {
        this.#answerErrorOf(operation, call, -encoded as Errno)
        return false
      }
    } catch (error) {
      this.#answerFault(operation, call, error)
      return false
    }
    this.#sent(call, reply)
    return true
  }

  #sendData(call: Call, buffers: readonly Buffer[]): number {
    let bytes = 0
    for (const buffer of buffers) bytes += buffer.length
    if (bytes > call.size) throw new Fault(`${bytes} bytes for a request of ${call.size}`)
    // One writev takes few hundred pieces.
    const pieces = buffers.length > 256 ? [Buffer.concat(buffers)] : buffers
    const failed = this.#transport.replyData(call, 0, pieces, bytes)
    returnBuffers(buffers)
    return failed
  }

  #answerFault(operation: Operation, call: Call, error: unknown): void {
    const errno = error instanceof Fault ? error.errno : EIO
    // A fault says what was being done and why; anything else is a bug of ours, and its stack says where.
    const what = error instanceof Fault || !(error instanceof Error) ? causeText(error) : (error.stack ?? error.message)
    this.#log.error(`${operation.name} of inode ${inoToString(call.ino)}: ${what} (${errnoName(errno)})`)
    this.#answerErrorOf(operation, call, errno)
  }

  #answerErrorOf(operation: Operation, call: Call, errno: Errno): void {
    this.#answerError(call, errno)
    this.#finished(operation, call, errno, undefined)
  }

  #answerError(call: Call, errno: Errno): void {
    if (!call.isAnswered) this.#sent(call, this.#transport.replyError(call, errno))
  }

  #sent(call: Call, errno: number): void {
    call.isAnswered = true
    // ENOENT: interrupted and no longer waited for.
    if (errno === 0 || errno === ENOENT || this.#isClosed || errno === ENODEV) return
    this.#log.error(
      `the kernel refused the answer to request ${OPERATIONS[call.opcode]?.name ?? call.opcode} of inode ${inoToString(call.ino)}: ${errnoName(errno)}`,
    )
    // Nobody may wait for ever for an answer that we spelled wrongly.
    if (errno === EINVAL) this.#transport.replyError(call, EIO)
  }

  #finished(operation: Operation, call: Call, errno: number, value: unknown): void {
    if (this.#isTimed) {
      const micros = (performance.now() - call.startedMs) * 1000
      this.#onRequest?.(operation.name, micros, errno, call.size)
      this.#trace?.finished(operation.name, call, errno, value, micros)
    }
    if (call.pageMemory && this.#direntMemories.length < MAX_DIRENT_MEMORIES) {
      this.#direntMemories.push(call.pageMemory)
      call.pageMemory = null
    }
  }

  #takeDirentMemory(bytes: number): DirentMemory {
    const memory = this.#direntMemories.pop()
    return memory && memory.buf.length >= bytes ? memory : new DirentMemory((bytes + 7) & ~7)
  }

  /** Requests that are not for the file system. */
  #converse(request: FuseRequest): void {
    const transport = this.#transport
    switch (request.opcode) {
      case K.FORGET:
      case K.BATCH_FORGET:
        return // no reply; nothing is counted: the attributes of an inode can be found again at any time
      case K.INTERRUPT:
        // EAGAIN makes the kernel ask again: the request is about to be read by another thread. When it has been answered
        // already the kernel ignores this reply.
        if (!this.#inFlight.interrupt(request.word(0), request.word(1))) transport.replyError(request, EAGAIN)
        return
      case K.INIT:
        this.#agree(request)
        return
      case K.DESTROY:
        transport.replyOut(request, 0)
        return
      default:
        if (!this.#unknownOpcodes.has(request.opcode)) {
          this.#unknownOpcodes.add(request.opcode)
          this.#log.debug(`request ${request.opcode} is not offered`)
        }
        transport.replyError(request, ENOSYS)
    }
  }

  #agree(request: FuseRequest): void {
    const u32 = this.#transport.out.u32
    const [major, minor, maxReadahead, flags] = [request.word(0), request.word(1), request.word(2), request.word(3)]
    if (major > MAJOR) {
      // The kernel asks once more in our version.
      u32.fill(0, 4, 4 + INIT_OUT_BYTES / 4)
      u32[4] = MAJOR
      this.#transport.replyOut(request, INIT_OUT_BYTES)
      return
    }
    if (major < MAJOR || minor < OLDEST_MINOR) {
      this.#transport.replyError(request, EINVAL)
      this.#reportStarted(new Fault(`the kernel's FUSE interface ${major}.${minor} is older than 7.${OLDEST_MINOR}`))
      return
    }
    // The second word of flags came with longer requests; before, there is nothing behind the fourth argument.
    const flags2 = request.end - request.arg >= 20 ? request.word(4) : 0
    const agreed: Agreed = agree({ major, minor, maxReadahead, flags, flags2 }, this.#init)
    this.#hasShortSetxattr = (agreed.flags & K.SETXATTR_EXT) === 0
    this.#bench = this.#newBench(agreed.flags & K.HANDLE_KILLPRIV_V2 ? new PrivilegeKeeper(this.#fs) : null)
    this.#fs.agreed?.({
      dropsOverwrittenPages: (agreed.flags2 & K.DIRECT_IO_ALLOW_MMAP) !== 0 && (agreed.flags & K.WRITEBACK_CACHE) === 0,
    })
    const failed = this.#transport.replyOut(request, putInitOut(u32, 4, agreed, this.#init))
    this.#log.debug(`FUSE 7.${agreed.minor}, flags ${agreed.flags.toString(16)}, flags2 ${agreed.flags2.toString(16)}`)
    if (failed !== 0) this.#reportStarted(new Fault(`answer INIT: ${errnoName(failed)}`))
    else {
      this.#reportStarted(null)
      if (this.#transport.mountPoint !== null) void raiseReadAhead(this.#transport.mountPoint, this.#log)
    }
  }

  async #end(errno: number): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    if (errno !== ENODEV) this.#log.warn(`the kernel ended the connection: ${errnoName(errno)}`)
    this.#reportStarted(new Fault('the mount ended before it began', { errno: ENODEV }))
    this.#notifier.close()
    this.#inFlight.cancelAll()
    this.#inFlight.close()
    await this.#transport.close()
    this.#reportClosed()
  }
}
