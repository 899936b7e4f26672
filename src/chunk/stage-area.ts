/** The staged blocks of one cache directory on disk (spec disk-cache section 6): blocks that were acknowledged and are not in the
 *  object store yet.
 *
 *      write ─► rawstaging/{key}.tmp ─► rawstaging/{key} ─┬─ second link: raw/{key}
 *                                                         ├─ sync: survives a power cut
 *                                                         └─ remove, when its object is stored or its slice is gone
 *
 *  Checksums are always written and always verified: after a power cut a file that was not synced may be there with any bytes, and
 *  those must neither be read nor uploaded. */

import fs from 'node:fs'
import { call, codeOf, ignore } from '../base/call.ts'
import { DurableFiles } from '../base/durable-files.ts'
import type { CacheDirectory, FoundFile } from './cache-directory.ts'
import { type CacheFile, readStagedFile, writeCacheFile } from './cache-file.ts'
import { type Block, type BlockKey, blockKey, objectKey, parseBlockName } from './keys.ts'
import { tierIn } from './stage-footer.ts'

/** of an object key; others lie there by mistake (spec section 6.3) */
const KEY = /^chunks\/((\d+)|([0-9a-fA-F]{2}))\/\d+\/\d+_\d+_\d+$/

export interface FoundStaged {
  readonly block: Block
  readonly mtimeMs: number
}

export class StageArea {
  readonly #directory: CacheDirectory
  readonly #hashPrefix: boolean
  readonly #warn: (doing: string, error: unknown) => void
  readonly #durable: DurableFiles
  /** what lies here, and the making of its second link, which nobody waits for */
  readonly #links = new Map<BlockKey, Promise<boolean>>()
  #bytes = 0

  constructor(
    directory: CacheDirectory,
    options: { readonly hashPrefix: boolean; readonly warn: (doing: string, error: unknown) => void },
  ) {
    this.#directory = directory
    this.#hashPrefix = options.hashPrefix
    this.#warn = options.warn
    this.#durable = new DurableFiles(directory.root)
  }

  get count(): number {
    return this.#links.size
  }
  /** plain bytes of the blocks */
  get bytes(): number {
    return this.#bytes
  }
  get root(): string {
    return this.#directory.root
  }

  has(key: BlockKey): boolean {
    return this.#links.has(key)
  }

  path(block: Block): string {
    return this.#directory.stagingPath(objectKey(block, this.#hashPrefix))
  }

  /** Resolves when the block is in its file; it survives the death of this process. A small file stays open and is returned.
   *  Rejects as node:fs does: then nothing is left. */
  async write(block: Block, bytes: Buffer): Promise<CacheFile | null> {
    const key = objectKey(block, this.#hashPrefix)
    const options = { mode: this.#directory.fileMode, checksums: true }
    const file = await writeCacheFile(this.path(block), bytes, options).catch(async error => {
      if (codeOf(error) !== 'ENOENT') throw error
      await this.#directory.makeStagingParents(key)
      return await writeCacheFile(this.path(block), bytes, options)
    })
    this.#add(block, this.#link(key))
    return file
  }

  /** Takes over a block that an earlier run has staged. */
  adopt(block: Block): void {
    if (!this.has(blockKey(block.id, block.index))) this.#add(block, this.#link(objectKey(block, this.#hashPrefix)))
  }

  /** The verified block, and the storage tier that it was meant for; null where its footer cannot be read. */
  async read(block: Block): Promise<{ readonly data: Buffer; readonly tier: number | null }> {
    const { data, footer } = await readStagedFile(this.path(block), block.length, 'full')
    return { data, tier: tierIn(footer) }
  }

  /** Resolves to the blocks whose files are gone, when all others survive a power cut. */
  async sync(blocks: readonly Block[]): Promise<Block[]> {
    const missing = new Set(await this.#durable.sync(blocks.map(block => this.path(block))))
    return missing.size === 0 ? [] : blocks.filter(block => missing.has(this.path(block)))
  }

  /** Forgets the block and takes its staging file away. Resolves to whether a second link, the cached block, remains. */
  async remove(block: Block): Promise<boolean> {
    const key = blockKey(block.id, block.index)
    const link = this.#links.get(key)
    if (link === undefined) return false
    this.#links.delete(key)
    this.#bytes -= block.length
    const isLinked = await link // or it would be made afterwards, of a file that is gone
    await call<void>(done => fs.unlink(this.path(block), done)).catch(ignore)
    return isLinked
  }

  /** What earlier runs and other clients have left here, in no order. `onInvalid` is told of what is no block of this volume. */
  async scan(
    nowMs: number,
    blockBytes: number,
    onInvalid: (path: string) => void,
    stopped: () => boolean,
  ): Promise<FoundStaged[]> {
    const found: FoundStaged[] = []
    const onFile = ({ key, mtimeMs }: FoundFile): void => {
      const block = KEY.test(key) ? parseBlockName(key.slice(key.lastIndexOf('/') + 1)) : null
      const isOurs = block !== null && block.length <= blockBytes && objectKey(block, this.#hashPrefix) === key
      if (isOurs) found.push({ block, mtimeMs })
      else onInvalid(this.#directory.stagingPath(key))
    }
    await this.#directory.scanStaging(nowMs, onFile, stopped)
    return found
  }

  #add(block: Block, link: Promise<boolean>): void {
    const key = blockKey(block.id, block.index)
    if (!this.#links.has(key)) this.#bytes += block.length
    this.#links.set(key, link)
  }

  /** False where it cannot be made: then the block is staged all the same, and not cached when it is uploaded. */
  async #link(key: string): Promise<boolean> {
    const [staged, cached] = [this.#directory.stagingPath(key), this.#directory.rawPath(key)]
    const link = (): Promise<void> => call<void>(done => fs.link(staged, cached, done))
    try {
      await link().catch(async error => {
        if (codeOf(error) === 'ENOENT') await this.#directory.makeRawParents(key)
        else if (codeOf(error) !== 'EEXIST') throw error
        else if (await sameFile(staged, cached)) return
        else await call<void>(done => fs.unlink(cached, done))
        await link()
      })
      return true
    } catch (error) {
      this.#warn(`link ${staged} to ${cached}`, error)
      return false
    }
  }
}

async function sameFile(a: string, b: string): Promise<boolean> {
  const inodeOf = async (path: string): Promise<bigint> =>
    (await call<fs.BigIntStats>(done => fs.stat(path, { bigint: true }, done))).ino
  return (await inodeOf(a)) === (await inodeOf(b))
}
