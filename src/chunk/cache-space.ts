/** How much of a disk the cache may take (spec disk-cache section 3.3): never more than its size, and a share of the file system stays
 *  free whoever fills it. The file system is looked at once a second; in between, what was written here since is counted. */

import type { Log } from '../base/log.ts'
import type { CacheDirectory, Space } from './cache-directory.ts'

/** staged blocks may use up so much of what shall stay free */
const STAGE_SHARE = 1 / 2
/** what must stay free of `/`, where the cache has ended by mistake */
const ROOT_RATIO = 0.2
/** a file takes its inode and the rest of its last page too */
const FILE_OVERHEAD_BYTES = 4096

export interface CacheLimits {
  readonly sizeBytes: number
  /** 0 = derived from the inodes of the file system */
  readonly items: number
  readonly freeSpaceRatio: number
}

export class CacheSpace {
  readonly #directory: CacheDirectory
  #ratio: number
  /** so much may be cached */
  maxBytes: number
  maxItems: number
  #seen: Space = { totalBytes: 0, totalInodes: 0, freeBytes: 0, freeInodes: 0 }
  #writtenBytes = 0
  #writtenFiles = 0

  private constructor(directory: CacheDirectory, limits: CacheLimits) {
    this.#directory = directory
    this.#ratio = limits.freeSpaceRatio
    this.maxBytes = limits.sizeBytes
    this.maxItems = limits.items > 0 ? limits.items : Number.POSITIVE_INFINITY
  }

  /** Lowers the limits to what the file system can give, and says so. Rejects as statfs(2) does. */
  static async open(directory: CacheDirectory, limits: CacheLimits, log: Log): Promise<CacheSpace> {
    const space = new CacheSpace(directory, limits)
    await space.look()
    const { totalBytes, totalInodes } = space.#seen
    const [freeBytes, freeInodes] = [space.#freeBytesRatio, space.#freeInodesRatio]
    const used = (free: number): string => `${((1 - free) * 100).toFixed(1)}%`
    log.info(`Disk cache (${directory.root}): used ratio - [space ${used(freeBytes)}, inode ${used(freeInodes)}]`)
    const usableBytes = Math.floor(totalBytes * (1 - limits.freeSpaceRatio))
    if (totalBytes > 0 && usableBytes < space.maxBytes) {
      log.info(`Adjusted cache capacity based on freeratio: from ${space.maxBytes} to ${usableBytes} bytes`)
      space.maxBytes = usableBytes
    }
    const usableItems = Math.floor(totalInodes * (1 - limits.freeSpaceRatio))
    if (totalInodes > 0 && usableItems < space.maxItems) {
      log.info(`Adjusted max items based on freeratio: from ${limits.items} to ${usableItems} items`)
      space.maxItems = usableItems
    }
    if (space.isShort) {
      const percent = (ratio: number): string => `${(ratio * 100).toFixed(0)}%`
      log.warn(
        `not enough space (${percent(freeBytes)}) or inodes (${percent(freeInodes)}) for caching in ` +
          `${directory.root}: free ratio should be >= ${percent(limits.freeSpaceRatio)}`,
      )
    }
    return space
  }

  /** Rejects as statfs(2) does. */
  async look(): Promise<void> {
    this.#writtenBytes = 0
    this.#writtenFiles = 0
    this.#seen = await this.#directory.space()
  }

  /** A file with so many bytes was written. */
  wrote(bytes: number): void {
    this.#writtenBytes += bytes + FILE_OVERHEAD_BYTES
    this.#writtenFiles++
  }

  /** Less is free than shall stay free. */
  get isShort(): boolean {
    return this.#freeRatio < this.#ratio
  }
  /** Even for blocks that wait to be uploaded there is no room. */
  get isShortOfStage(): boolean {
    return this.#freeRatio < this.#ratio * STAGE_SHARE
  }
  /** What would have to go for that share to be free; 0 or less: nothing. */
  get missingBytes(): number {
    return (this.#ratio - this.#freeBytesRatio) * this.#seen.totalBytes
  }
  get missingItems(): number {
    return (this.#ratio - this.#freeInodesRatio) * this.#seen.totalInodes
  }

  /** The device seems to be gone, and its mount point with `/` behind it to be what is written to. */
  async guardRoot(): Promise<void> {
    if (this.#ratio < ROOT_RATIO && (await this.#directory.isOnRoot())) this.#ratio = ROOT_RATIO
  }

  get #freeRatio(): number {
    return Math.min(this.#freeBytesRatio, this.#freeInodesRatio)
  }
  /** 1 where the file system does not say. */
  get #freeBytesRatio(): number {
    const { totalBytes, freeBytes } = this.#seen
    return totalBytes > 0 ? (freeBytes - this.#writtenBytes) / totalBytes : 1
  }
  get #freeInodesRatio(): number {
    const { totalInodes, freeInodes } = this.#seen
    return totalInodes > 0 ? (freeInodes - this.#writtenFiles) / totalInodes : 1
  }
}
