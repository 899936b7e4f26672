/** One directory of the disk cache on disk (spec disk-cache section 2): its modes, its identity, its walks.
 *
 *      {cache-dir}/{volume UUID}/.lock                   random UUID: the identity of this directory
 *      {cache-dir}/{volume UUID}/raw/{object key}        cached blocks
 *      {cache-dir}/{volume UUID}/rawstaging/{object key} blocks that are not uploaded yet; raw/ has a second link to each
 *
 *  Object keys are those below the volume prefix. */

import { randomUUID } from 'node:crypto'
import fs from 'node:fs'
import { dirname } from 'node:path'
import { call, codeOf, ignore } from '../base/call.ts'
import { errnoOf } from '../base/errno.ts'
import { Fault } from '../base/fault.ts'
import { type Block, parseBlockName } from './keys.ts'

/** temporary files and empty directories this old belong to nobody */
const STALE_MS = 60_000
const STATS_AT_ONCE = 16
const PROBES = 'probe'
const MAKE_ATTEMPTS = 3

export interface Space {
  readonly totalBytes: number
  readonly totalInodes: number
  /** for ordinary users; where the file system does not say, as many as there are */
  readonly freeBytes: number
  readonly freeInodes: number
}

export interface FoundFile {
  /** below `raw/` or `rawstaging/` */
  readonly key: string
  readonly bytes: number
  readonly atimeSec: number
  readonly mtimeMs: number
  readonly links: number
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
  readonly fileMode: number
  readonly #dirMode: number
  #id = ''

  private constructor(root: string, fileMode: number) {
    this.root = root
    this.fileMode = fileMode
    // whoever may read files may also enter and change directories
    const readers = fileMode & 0o444
    this.#dirMode = fileMode | (readers >> 2) | (readers >> 1)
  }

  /** Makes what is missing. Throws a Fault that names the directory where it cannot be used. */
  static async open(options: {
    readonly dir: string
    readonly uuid: string
    readonly mode: number
    /** blocks will be staged here */
    readonly staging: boolean
  }): Promise<CacheDirectory> {
    const directory = new CacheDirectory(`${options.dir.replace(/\/+$/, '')}/${options.uuid}/`, options.mode)
    try {
      for (const name of options.staging ? ['raw', 'rawstaging'] : ['raw']) {
        await directory.#make(`${directory.root}${name}`)
        await call<void>(done =>
          fs.access(`${directory.root}${name}`, fs.constants.R_OK | fs.constants.W_OK | fs.constants.X_OK, done),
        )
      }
      directory.#id = await directory.#identify()
    } catch (error) {
      throw new Fault(`cache directory ${directory.root} cannot be used`, { errno: errnoOf(error), cause: error })
    }
    return directory
  }

  /** What `.lock` holds: by it blocks find their directory, wherever that is mounted. */
  get id(): string {
    return this.#id
  }

  rawPath(objectKey: string): string {
    return `${this.root}raw/${objectKey}`
  }
  stagingPath(objectKey: string): string {
    return `${this.root}rawstaging/${objectKey}`
  }
  /** Makes the directories above a cached block, whatever is missing. */
  async makeRawParents(objectKey: string): Promise<void> {
    await this.#make(dirname(this.rawPath(objectKey)))
  }

  /** Makes the directories above a staged block, but never `rawstaging` itself: where that has vanished, its disk has, and what is
   *  staged under its mount point would be hidden when it comes back. Rejects with ENOENT. */
  async makeStagingParents(objectKey: string): Promise<void> {
    await call<fs.Stats>(done => fs.stat(this.stagingPath(''), done))
    await this.#make(dirname(this.stagingPath(objectKey)), this.stagingPath('').slice(0, -1))
  }

  async hasLock(): Promise<boolean> {
    return call<fs.Stats>(done => fs.stat(`${this.root}.lock`, done)).then(
      () => true,
      error => codeOf(error) !== 'ENOENT',
    )
  }

  /** Is it on the file system of `/`? False where that cannot be told. */
  async isOnRoot(): Promise<boolean> {
    const deviceOf = async (path: string): Promise<number> => (await call<fs.Stats>(done => fs.stat(path, done))).dev
    return Promise.all([deviceOf(this.root), deviceOf('/')]).then(
      ([own, root]) => own === root,
      () => false,
    )
  }

  async space(): Promise<Space> {
    const { bsize, blocks, bavail, files, ffree } = await call<fs.StatsFs>(done => fs.statfs(this.root, done))
    return { totalBytes: blocks * bsize, totalInodes: files, freeBytes: bavail * bsize, freeInodes: ffree }
  }

  /** 01 02 03 written, read and removed under `raw/probe/`. Rejects as node:fs does, EIO where other bytes come back. */
  async probe(id: number): Promise<void> {
    const bucket = (id % 256).toString(16).toUpperCase().padStart(2, '0')
    const path = this.rawPath(`${PROBES}/${bucket}/${Math.floor(id / 1_000_000)}/${id}_0_3`)
    const bytes = Buffer.from([1, 2, 3])
    await this.#make(dirname(path))
    await call<void>(done => fs.writeFile(path, bytes, { mode: this.fileMode }, done))
    const back = await call<Buffer>(done => fs.readFile(path, done))
    await call<void>(done => fs.unlink(path, done))
    if (!back.equals(bytes)) throw Object.assign(new Error('the probe came back with other bytes'), { code: 'EIO' })
  }

  /** Takes away the directories that probes have left. */
  removeProbes(): void {
    fs.rm(this.rawPath(PROBES), { recursive: true, force: true }, ignore)
  }

  /** Walks `raw/` and tells of every block; stale temporary files and empty directories are removed on the way. */
  async scan(nowMs: number, onBlock: (found: FoundBlock) => void, stopped: () => boolean): Promise<void> {
    const onFile = ({ key, atimeSec, links }: FoundFile): void => {
      const block = parseBlockName(key.slice(key.lastIndexOf('/') + 1))
      if (block) onBlock({ block, atime: atimeSec, staged: links > 1 })
    }
    await new Walk(this.rawPath(''), { nowMs, onFile, stopped, skipped: PROBES }).run()
  }

  /** The same of `rawstaging/`, telling of every file. */
  async scanStaging(nowMs: number, onFile: (found: FoundFile) => void, stopped: () => boolean): Promise<void> {
    await new Walk(this.stagingPath(''), { nowMs, onFile, stopped, skipped: null }).run()
  }

  /** One level at a time, with chmod, since the umask shall not count. Somebody else's directory stays as it is. `floor`: a
   *  directory that must be there. A sweep may take an empty one away in between, so it is tried again; /proc and mount points of
   *  autofs say ENOENT for ever. */
  async #make(path: string, floor = '/', attempts = MAKE_ATTEMPTS): Promise<void> {
    try {
      await call<void>(done => fs.mkdir(path, this.#dirMode, done))
      await call<void>(done => fs.chmod(path, this.#dirMode, done))
    } catch (error) {
      const code = codeOf(error)
      if (code === 'ENOENT' && path !== floor && attempts > 1) {
        await this.#make(dirname(path), floor)
        return this.#make(path, floor, attempts - 1)
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

  /** Reads `.lock`, which is written if it is new. */
  async #identify(): Promise<string> {
    const path = `${this.root}.lock`
    const read = async (): Promise<string> => (await call<string>(done => fs.readFile(path, 'latin1', done))).trim()
    const write = (flag: 'w' | 'wx'): Promise<void> =>
      call<void>(done => fs.writeFile(path, randomUUID(), { mode: 0o666, flag }, done))
    await write('wx').catch(error => {
      if (codeOf(error) !== 'EEXIST') throw error
    })
    const id = await read()
    if (id !== '') return id
    await write('w') // whoever made it crashed before it was written
    return read()
  }
}

/** Runs `write`, and once more with the directories made above it where they were missing. */
export const inMadeParents = <T>(write: () => Promise<T>, makeParents: () => Promise<void>): Promise<T> =>
  write().catch(async error => {
    if (codeOf(error) !== 'ENOENT') throw error
    await makeParents()
    return write()
  })

interface WalkOptions {
  readonly nowMs: number
  readonly onFile: (found: FoundFile) => void
  readonly stopped: () => boolean
  /** a directory at the top that is left alone */
  readonly skipped: string | null
}

class Walk {
  /** ends with a slash */
  readonly #top: string
  readonly #o: WalkOptions

  constructor(top: string, options: WalkOptions) {
    this.#top = top
    this.#o = options
  }

  run(): Promise<void> {
    return this.#directory('')
  }

  async #directory(below: string): Promise<void> {
    const path = this.#top + below
    const entries = await call<fs.Dirent[]>(done => fs.readdir(path, { withFileTypes: true }, done)).catch(() => [])
    if (entries.length === 0 && below !== '') await this.#removeEmpty(path)
    const { stopped, skipped } = this.#o
    for (let at = 0; at < entries.length && !stopped(); at += STATS_AT_ONCE) {
      const some = entries.slice(at, at + STATS_AT_ONCE)
      await Promise.all(some.map(entry => (entry.isFile() ? this.#file(below + entry.name) : undefined)))
    }
    for (const entry of entries) {
      if (stopped()) return
      const isWanted = entry.isDirectory() && (below !== '' || entry.name !== skipped)
      if (isWanted) await this.#directory(`${below}${entry.name}/`)
    }
  }

  async #file(key: string): Promise<void> {
    const path = this.#top + key
    const stat = await call<fs.Stats>(done => fs.stat(path, done)).catch(() => null)
    if (stat === null) return
    if (key.endsWith('.tmp')) {
      if (this.#o.nowMs - stat.mtimeMs > STALE_MS) fs.unlink(path, ignore)
      return
    }
    const { size, atimeMs, mtimeMs, nlink } = stat
    this.#o.onFile({ key, bytes: size, atimeSec: Math.floor(atimeMs / 1000), mtimeMs, links: nlink })
  }

  async #removeEmpty(path: string): Promise<void> {
    const stat = await call<fs.Stats>(done => fs.stat(path, done)).catch(() => null)
    if (stat && this.#o.nowMs - stat.mtimeMs > STALE_MS) await call<void>(done => fs.rmdir(path, done)).catch(ignore)
  }
}
