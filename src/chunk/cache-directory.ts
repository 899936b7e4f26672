/** The directory of the disk cache on disk (spec disk-cache section 2): its modes, its identity, its walk.
 *
 *      {cache-dir}/{volume UUID}/.lock            random UUID: the identity of this directory
 *      {cache-dir}/{volume UUID}/raw/{object key without volume prefix}
 */

import { randomUUID } from 'node:crypto'
import fs from 'node:fs'
import { dirname } from 'node:path'
import { call, codeOf } from '../base/call.ts'
import { errnoOf } from '../base/errno.ts'
import { Fault } from '../base/fault.ts'
import { type Block, parseBlockName } from './keys.ts'

/** temporary files and empty directories this old belong to nobody */
const STALE_MS = 60_000
const STATS_AT_ONCE = 16

export interface Space {
  readonly totalBytes: number
  readonly totalInodes: number
  /** free for ordinary users, of all; 1 where the file system does not say */
  readonly freeRatio: number
  readonly freeInodeRatio: number
}

export interface FoundBlock {
  readonly block: Block
  /** seconds */
  readonly atime: number
  /** a second link: the block waits in the staging directory */
  readonly staged: boolean
}

export class CacheDirectory {
  /** `{cache-dir}/{uuid}/`, for messages */
  readonly root: string
  readonly #fileMode: number
  readonly #dirMode: number

  private constructor(root: string, fileMode: number) {
    this.root = root
    this.#fileMode = fileMode
    // whoever may read files may also enter and change directories
    const readers = fileMode & 0o444
    this.#dirMode = fileMode | (readers >> 2) | (readers >> 1)
  }

  /** Makes what is missing. Throws a Fault that names the directory where it cannot be used. */
  static async open(options: {
    readonly dir: string
    readonly uuid: string
    readonly mode: number
  }): Promise<CacheDirectory> {
    const directory = new CacheDirectory(`${options.dir.replace(/\/+$/, '')}/${options.uuid}/`, options.mode)
    try {
      await directory.#make(`${directory.root}raw`)
      await call<void>(done =>
        fs.access(`${directory.root}raw`, fs.constants.R_OK | fs.constants.W_OK | fs.constants.X_OK, done),
      )
      await directory.#identify()
    } catch (error) {
      throw new Fault(`cache directory ${directory.root} cannot be used`, { errno: errnoOf(error), cause: error })
    }
    return directory
  }

  get fileMode(): number {
    return this.#fileMode
  }

  path(objectKey: string): string {
    return `${this.root}raw/${objectKey}`
  }

  /** Makes the directories above a file. */
  async makeParents(path: string): Promise<void> {
    await this.#make(dirname(path))
  }

  async hasLock(): Promise<boolean> {
    return call<fs.Stats>(done => fs.stat(`${this.root}.lock`, done)).then(
      () => true,
      error => codeOf(error) !== 'ENOENT',
    )
  }

  async space(): Promise<Space> {
    const { bsize, blocks, bavail, files, ffree } = await call<fs.StatsFs>(done => fs.statfs(this.root, done))
    return {
      totalBytes: blocks * bsize,
      totalInodes: files,
      freeRatio: blocks > 0 ? bavail / blocks : 1,
      freeInodeRatio: files > 0 ? ffree / files : 1,
    }
  }

  /** Walks `raw/` and tells of every block; stale temporary files and empty directories are removed on the way. */
  async scan(nowMs: number, onBlock: (found: FoundBlock) => void, stopped: () => boolean): Promise<void> {
    await this.#walk(`${this.root}raw`, nowMs, onBlock, stopped)
  }

  async #walk(
    path: string,
    nowMs: number,
    onBlock: (found: FoundBlock) => void,
    stopped: () => boolean,
  ): Promise<void> {
    const entries = await call<fs.Dirent[]>(done => fs.readdir(path, { withFileTypes: true }, done)).catch(() => [])
    if (entries.length === 0) await removeEmpty(path, nowMs)
    for (let at = 0; at < entries.length && !stopped(); at += STATS_AT_ONCE) {
      await Promise.all(
        entries.slice(at, at + STATS_AT_ONCE).map(async entry => {
          if (entry.isFile()) await visit(`${path}/${entry.name}`, entry.name, nowMs, onBlock)
        }),
      )
    }
    for (const entry of entries) {
      if (entry.isDirectory() && !stopped()) await this.#walk(`${path}/${entry.name}`, nowMs, onBlock, stopped)
    }
  }

  /** One level at a time, with chmod, since the umask shall not count. Somebody else's directory stays as it is. */
  async #make(path: string): Promise<void> {
    try {
      await call<void>(done => fs.mkdir(path, this.#dirMode, done))
      await call<void>(done => fs.chmod(path, this.#dirMode, done))
    } catch (error) {
      const code = codeOf(error)
      if (code === 'ENOENT' && path !== '/') {
        await this.#make(dirname(path))
        return this.#make(path)
      }
      if (code !== 'EEXIST') throw error
      if (path.startsWith(this.root.slice(0, -1))) await this.#correctMode(path)
    }
  }

  async #correctMode(path: string): Promise<void> {
    const { uid, mode } = await call<fs.Stats>(done => fs.stat(path, done))
    if (uid !== process.geteuid?.() || (mode & 0o777) === this.#dirMode) return
    await call<void>(done => fs.chmod(path, this.#dirMode, done))
  }

  async #identify(): Promise<void> {
    try {
      const fd = await call<number>(done => fs.open(`${this.root}.lock`, 'wx', 0o666, done))
      try {
        await call<number>(done => fs.write(fd, randomUUID(), done))
      } finally {
        await call<void>(done => fs.close(fd, done))
      }
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error
    }
  }
}

async function visit(path: string, name: string, nowMs: number, onBlock: (found: FoundBlock) => void): Promise<void> {
  const stat = await call<fs.Stats>(done => fs.stat(path, done)).catch(() => null)
  if (stat === null) return
  if (name.endsWith('.tmp')) {
    if (nowMs - stat.mtimeMs > STALE_MS) await call<void>(done => fs.unlink(path, done)).catch(() => {})
    return
  }
  const block = parseBlockName(name)
  if (block) onBlock({ block, atime: Math.floor(stat.atimeMs / 1000), staged: stat.nlink > 1 })
}

async function removeEmpty(path: string, nowMs: number): Promise<void> {
  if (path.endsWith('/raw')) return
  const stat = await call<fs.Stats>(done => fs.stat(path, done)).catch(() => null)
  if (stat && nowMs - stat.mtimeMs > STALE_MS) await call<void>(done => fs.rmdir(path, done)).catch(() => {})
}
