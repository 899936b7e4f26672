/** What this process knows of an inode while somebody here has it open: shared by all its handles. */

import type { Time } from '../base/clock.ts'
import type { Ino } from '../base/ino.ts'
import { isPromise, type Maybe } from '../base/maybe.ts'
import type { Attr } from '../meta/model/attr.ts'
import type { FileWriter } from './file-writer.ts'

export class OpenFile {
  readonly ino: Ino
  /** as the metadata last told; what waits in the writer is not in it */
  attr: Attr
  /** made by the first write */
  writer: FileWriter | null = null
  /** second in which the access time was last offered to the metadata */
  touchedSec = 0
  /** ctime when the kernel last dropped its pages for a lock */
  lockedCtime: Time | null = null
  /** The kernel may have got bytes for its pages since it was last told to drop them for a write past them. */
  fillsPages = false
  /** handles, and operations that need the entry for a while */
  users = 0
  /** settles when the exclusive operation that runs is over */
  #busy: Promise<void> | null = null

  constructor(ino: Ino, attr: Attr) {
    this.ino = ino
    this.attr = attr
  }

  /** undefined, or what reads and writes wait for: something changes the whole file. */
  get busy(): Promise<void> | null {
    return this.#busy
  }

  /** length as a reader of this process must see it */
  get length(): number {
    const end = this.writer === null ? 0 : this.writer.end
    return end > this.attr.length ? end : this.attr.length
  }

  /** Runs `change` when no other change of the whole file runs; reads and writes that come later wait for it. */
  exclusively<T>(change: () => Maybe<T>): Maybe<T> {
    if (this.#busy !== null) return this.#busy.then(() => this.exclusively(change))
    const result = change()
    if (!isPromise(result)) return result
    const over = (): void => {
      this.#busy = null
    }
    this.#busy = result.then(over, over)
    return result
  }
}

export class OpenFiles {
  readonly #files = new Map<Ino, OpenFile>()

  get size(): number {
    return this.#files.size
  }

  get(ino: Ino): OpenFile | undefined {
    return this.#files.get(ino)
  }

  /** Counts a user; `attr` is fresh. */
  hold(ino: Ino, attr: Attr): OpenFile {
    let file = this.#files.get(ino)
    if (file === undefined) {
      file = new OpenFile(ino, attr)
      this.#files.set(ino, file)
    }
    file.attr = attr
    file.users++
    return file
  }

  letGo(file: OpenFile): void {
    if (--file.users === 0) this.#files.delete(file.ino)
  }
}
