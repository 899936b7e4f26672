/** The directories that are open here, by inode: what we change in one is told to its listings. */

import type { Name } from '../base/bytes.ts'
import type { Ino } from '../base/ino.ts'
import type { DirEntry } from '../meta/engine.ts'
import type { Entry } from '../meta/meta.ts'
import type { DirectoryStream } from './directory.ts'

export class OpenDirectories {
  readonly #streams = new Map<Ino, Set<DirectoryStream>>()

  add(ino: Ino, stream: DirectoryStream): void {
    const known = this.#streams.get(ino)
    if (known) known.add(stream)
    else this.#streams.set(ino, new Set([stream]))
  }

  remove(ino: Ino, stream: DirectoryStream): void {
    const known = this.#streams.get(ino)
    if (known?.delete(stream) && known.size === 0) this.#streams.delete(ino)
  }

  /** The name leads there now; null: it is gone; undefined: it leads to something that we were not told. */
  changed(dir: Ino, name: Name, entry: Entry | null | undefined): void {
    if (this.#streams.size === 0) return
    const streams = this.#streams.get(dir)
    if (streams === undefined) return
    // Its attributes may be changed again before it is listed.
    const listed: DirEntry | null | undefined =
      entry && ({ name, ino: entry.ino, type: entry.attr.type, attr: null } satisfies DirEntry)
    for (const stream of streams) stream.changed(name, listed)
  }
}
