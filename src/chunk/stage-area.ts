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
import type { Clock } from '../base/clock.ts'
import { DurableFiles } from '../base/durable-files.ts'
import type { Log } from '../base/log.ts'
import { type CacheDirectory, type FoundFile, inMadeParents } from './cache-directory.ts'
import { type CacheFile, readStagedFile, writeCacheFile } from './cache-file.ts'
import { type Block, type BlockKey, blockKey, objectKey, parseBlockName } from './keys.ts'
import { tierIn } from './stage-footer.ts'

/** of an object key; others lie there by mistake (spec section 6.3) */
const KEY = /^chunks\/((\d+)|([0-9a-fA-F]{2}))\/\d+\/\d+_\d+_\d+$/

export interface FoundStaged {
  readonly block: Block
  readonly mtimeMs: number
}

export interface StageAreaOptions {
  readonly hashPrefix: boolean
  readonly blockBytes: number
  readonly clock: Clock
  readonly log: Log
  /** Tells of a second link that cannot be made. */
  readonly complain: (doing: string, error: unknown) => void
}

export class StageArea {
  readonly #directory: CacheDirectory
  readonly #o: StageAreaOptions
  readonly #durable: DurableFiles
  /** what lies here, and the making of its second link, which nobody waits for */
  readonly #links = new Map<BlockKey, Promise<boolean>>()
  #bytes = 0
  #writingBytes = 0
  #isComplete = false

  constructor(directory: CacheDirectory, options: StageAreaOptions) {
    this.#directory = directory
    this.#o = options
    this.#durable = new DurableFiles(directory.root)
  }

  get count(): number {
    return this.#links.size
  }
  /** plain bytes of the blocks */
  get bytes(): number {
    return this.#bytes
  }
  /** of blocks that are being written; not among `bytes` yet */
  get writingBytes(): number {
    return this.#writingBytes
  }
  /** What earlier runs have left is known too: what is not known is not there. */
  get isComplete(): boolean {
    return this.#isComplete
  }

  has(key: BlockKey): boolean {
    return this.#links.has(key)
  }

  path(block: Block): string {
    return this.#directory.stagingPath(this.#keyOf(block))
  }

  /** Is its file there, whatever is known of it? */
  hasFile(block: Block): Promise<boolean> {
    return call<fs.Stats>(done => fs.stat(this.path(block), done)).then(Boolean, () => false)
  }

  /** Resolves when the block is in its file; it survives the death of this process. A small file stays open and is returned.
   *  Rejects as node:fs does: then nothing is left. */
  async write(block: Block, bytes: Buffer): Promise<CacheFile | null> {
    const key = this.#keyOf(block)
    const options = { mode: this.#directory.fileMode, checksums: true }
    this.#writingBytes += block.length
    try {
      const file = await inMadeParents(
        () => writeCacheFile(this.path(block), bytes, options),
        () => this.#directory.makeStagingParents(key),
      )
      this.#add(block, this.#link(key))
      return file
    } finally {
      this.#writingBytes -= block.length
    }
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

  /** Finds what earlier runs and other clients have left here, and takes over, the oldest first, what `accept` says yes to. */
  async findLeft(accept: (found: FoundStaged) => boolean, stopped: () => boolean): Promise<void> {
    const { clock, log } = this.#o
    const startedMs = clock.monotonicMs()
    const found = await this.#scan(stopped)
    found.sort((a, b) => a.mtimeMs - b.mtimeMs)
    for (const each of found) if (accept(each)) this.#adopt(each.block)
    this.#isComplete = true
    if (found.length === 0) return
    const bytes = found.reduce((sum, { block }) => sum + block.length, 0)
    const tookMs = Math.round(clock.monotonicMs() - startedMs)
    log.info(`Found ${found.length} staging blocks (${bytes} bytes) in ${this.#directory.root} with ${tookMs}ms`)
  }

  /** The blocks of this volume that lie here, in no order. */
  async #scan(stopped: () => boolean): Promise<FoundStaged[]> {
    const { clock, log, blockBytes } = this.#o
    const found: FoundStaged[] = []
    const onFile = ({ key, mtimeMs }: FoundFile): void => {
      const block = KEY.test(key) ? parseBlockName(key.slice(key.lastIndexOf('/') + 1)) : null
      const isOurs = block !== null && block.length <= blockBytes && this.#keyOf(block) === key
      if (isOurs) found.push({ block, mtimeMs })
      else log.warn(`Ignore invalid file in staging: ${this.#directory.stagingPath(key)}`)
    }
    await this.#directory.scanStaging(clock.now().sec * 1000, onFile, stopped)
    return found
  }

  #adopt(block: Block): void {
    if (!this.has(blockKey(block.id, block.index))) this.#add(block, this.#link(this.#keyOf(block)))
  }

  #add(block: Block, link: Promise<boolean>): void {
    const key = blockKey(block.id, block.index)
    if (!this.#links.has(key)) this.#bytes += block.length
    this.#links.set(key, link)
  }

  #keyOf(block: Block): string {
    return objectKey(block, this.#o.hashPrefix)
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
      this.#o.complain(`link ${staged} to ${cached}`, error)
      return false
    }
  }
}

async function sameFile(a: string, b: string): Promise<boolean> {
  const inodeOf = async (path: string): Promise<bigint> =>
    (await call<fs.BigIntStats>(done => fs.stat(path, { bigint: true }, done))).ino
  return (await inodeOf(a)) === (await inodeOf(b))
}
