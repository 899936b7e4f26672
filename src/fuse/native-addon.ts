/** Finds and types the compiled addon (native/juicefs_fuse.c). Its functions answer 0 or more, or a negative errno. */

import { createRequire } from 'node:module'

export interface NativeDevice {
  reply(length: number): number
  replyPieces(headLength: number, pieces: readonly Buffer[]): number
  useArena(memory: Buffer): number
  resume(): number
  pause(): number
  close(): number
}

export interface NativeFuse {
  openDevice(): number
  mount(source: string, target: string, type: string, data: string): number
  socketPair(): [ours: number, theirs: number] | number
  receiveDescriptor(socket: number): number
  prepareDescriptor(fd: number): number
  setIoFlusher(): number
  raiseOpenFiles(wanted: number): number
  trimMemory(): number
  attach(
    fd: number,
    out: Buffer,
    state: Buffer,
    slotBytes: number,
    onBatch: (count: number) => void,
  ): NativeDevice | number
}

let loaded: NativeFuse | null | undefined

/** The addon, or null where it has not been built for this machine (or JUICEFS_TS_NO_ADDON asks to do without). */
export function nativeFuse(): NativeFuse | null {
  if (loaded !== undefined) return loaded
  loaded = null
  if (!process.env.JUICEFS_TS_NO_ADDON) {
    try {
      // The same two steps up from src/fuse and from dist/fuse.
      loaded = createRequire(import.meta.url)(`../../native/juicefs_fuse-${process.arch}.node`) as NativeFuse
    } catch {
      // Not built: the transport on the thread pool serves instead, and says so in the log when it is chosen.
    }
  }
  return loaded
}

/** Raises RLIMIT_NOFILE to `openFiles` (or as far as the system lets it) and marks the process as one that serves write-back
 *  (PR_SET_IO_FLUSHER). Returns the limit of open files, or null where the addon is missing. */
export function raiseLimits(openFiles: number): number | null {
  const addon = nativeFuse()
  if (!addon) return null
  addon.setIoFlusher()
  const limit = addon.raiseOpenFiles(openFiles)
  return limit < 0 ? null : limit
}

/** Gives the memory that malloc keeps for later back to the system, where it can (glibc). A few milliseconds for hundreds
 *  of MiB. */
export function trimMemory(): void {
  nativeFuse()?.trimMemory()
}
