/** The cached blocks of one cache directory on disk (spec disk-cache section 2): `raw/{object key}`. Any of them may vanish. */

import fs from 'node:fs'
import { call, ignore } from '../base/call.ts'
import { type CacheDirectory, inMadeParents } from './cache-directory.ts'
import { type CacheFile, writeCacheFile } from './cache-file.ts'
import { type Block, objectKey } from './keys.ts'

export class RawArea {
  readonly #directory: CacheDirectory
  readonly #hashPrefix: boolean
  readonly #checksums: boolean

  constructor(directory: CacheDirectory, options: { readonly hashPrefix: boolean; readonly checksums: boolean }) {
    this.#directory = directory
    this.#hashPrefix = options.hashPrefix
    this.#checksums = options.checksums
  }

  path(block: Block): string {
    return this.#directory.rawPath(objectKey(block, this.#hashPrefix))
  }

  has(block: Block): Promise<boolean> {
    return call<fs.Stats>(done => fs.stat(this.path(block), done)).then(Boolean, () => false)
  }

  /** Resolves when the block is in its file, which stays open and is returned if it is small. Rejects as node:fs does. */
  write(block: Block, bytes: Buffer): Promise<CacheFile | null> {
    const options = { mode: this.#directory.fileMode, checksums: this.#checksums }
    return inMadeParents(
      () => writeCacheFile(this.path(block), bytes, options),
      () => this.#directory.makeRawParents(objectKey(block, this.#hashPrefix)),
    )
  }

  /** Nobody waits for it. */
  remove(block: Block): void {
    fs.unlink(this.path(block), ignore)
  }
}
