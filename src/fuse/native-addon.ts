/** What the addon offers to serve a mount (native/juicefs_fuse.c, native/system.c). Its functions answer 0 or more, or a negative errno. */

import { addon } from '../base/addon.ts'

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
  /** `flags`: MS_ of mount(2) */
  mount(source: string, target: string, type: string, flags: number, data: string): number
  socketPair(): [ours: number, theirs: number] | number
  receiveDescriptor(socket: number): number
  prepareDescriptor(fd: number): number
  setIoFlusher(): number
  disableHugePages(): number
  raiseOpenFiles(wanted: number): number
  trimMemory(): number
  attach(
    fd: number,
    out: Buffer,
    state: Buffer,
    slotBytes: number,
    lookOnMicros: number,
    onBatch: (count: number) => void,
  ): NativeDevice | number
}

/** The addon, or null where there is none. */
export const nativeFuse = (): NativeFuse | null => addon() as NativeFuse | null

/** Raises RLIMIT_NOFILE to `openFiles` (or as far as the system lets it) and marks the process as one that serves write-back
 *  (PR_SET_IO_FLUSHER). Returns the limit of open files, or null where the addon is missing. */
export function raiseLimits(openFiles: number): number | null {
  const native = nativeFuse()
  if (!native) return null
  native.setIoFlusher()
  const limit = native.raiseOpenFiles(openFiles)
  return limit < 0 ? null : limit
}

/** No transparent huge pages for this process (PR_SET_THP_DISABLE): less memory, more page faults. False where that cannot be had. */
export function disableHugePages(): boolean {
  const native = nativeFuse()
  return native !== null && native.disableHugePages() >= 0
}

/** Gives the memory that malloc keeps for later back to the system, where it can (glibc). A few milliseconds for hundreds
 *  of MiB. */
export function trimMemory(): void {
  nativeFuse()?.trimMemory()
}
