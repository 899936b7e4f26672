/** What an operation of the kernel is: how its arguments are read, what the file system is asked, how the answer is written.
 *
 *  A request's arguments are valid only until `ask` returns; what is needed for the answer is kept in the Call. Beside each
 *  operation stand the words (32 bits) of its arguments as <linux/fuse.h> lays them out; `w2..` is a 64-bit field. */

import type { Errno } from '../base/errno.ts'
import type { Maybe } from '../base/maybe.ts'
import type { Entry, FileSystem, Opened } from '../vfs/file-system.ts'
import type { Call } from './call.ts'
import { OUT_HEADER_BYTES } from './constants.ts'
import { type DirentMemory, ENTRY_OUT_BYTES, type EntryEncoder, putOpenOut } from './encode.ts'
import type { PrivilegeKeeper } from './privileges.ts'
import type { ReplyArea } from './transport.ts'
import type { FuseRequest } from './wire.ts'

/** What operations work with. */
export interface Bench {
  readonly fs: FileSystem
  readonly entries: EntryEncoder
  readonly out: ReplyArea
  /** null: not negotiated */
  readonly privileges: PrivilegeKeeper | null
  /** Times that the kernel sends are its own, whoever's request brings them (FuseServerOptions.kernelKeepsTimes). */
  readonly kernelKeepsTimes: boolean
  takeDirentMemory(bytes: number): DirentMemory
  /** Answers a request whose value is certain, before `ask` has returned it: what is left of the work then holds up nobody. */
  answerNow(call: Call, value: unknown): void
}

/** Payload bytes written into `out`, or buffers that follow the header as they are, or a verdict as negative errno. */
export type Encoded = number | readonly Buffer[]

export interface Operation<T = unknown> {
  /** as metrics and the access log call it */
  readonly name: string
  ask(bench: Bench, call: Call, request: FuseRequest): Maybe<T | Errno>
  /** null: success has no payload */
  readonly encode: ((bench: Bench, call: Call, value: T) => Encoded) | null
}

/** the first word behind the reply header */
export const PAYLOAD = OUT_HEADER_BYTES / 4

/** Operations by opcode. */
export class OperationTable {
  readonly byOpcode: (Operation | undefined)[] = []

  /** `T`: what the file system answers with, checked between `ask` and `encode` here and unknown afterwards. */
  add<T>(opcode: number, name: string, ask: Operation<T>['ask'], encode: Operation<T>['encode'] = null): void {
    this.byOpcode[opcode] = { name, ask, encode } as Operation
  }
}

export const entryOut = ({ entries, out }: Bench, _: Call, { ino, attr }: Entry): number =>
  entries.entryOut(out.u32, PAYLOAD, ino, attr)
export const openOut = ({ out }: Bench, _: Call, { fh, openFlags }: Opened): number =>
  putOpenOut(out.u32, PAYLOAD, fh, openFlags)
export const createOut = (bench: Bench, call: Call, created: Entry & Opened): number =>
  entryOut(bench, call, created) +
  putOpenOut(bench.out.u32, PAYLOAD + ENTRY_OUT_BYTES / 4, created.fh, created.openFlags)
