/** Objects as files below one directory (storage `file`; layout: spec data-objects section 4.1).
 *
 *      {root}{key}                                a block
 *      {dir}/.jfs.{basename ≤ 200}.tmp.{number}   while being put; a rename makes the object visible all at once
 *
 *  The callback API of node:fs is wrapped by hand: fs.promises costs about twice the CPU per call. A put is not synced;
 *  `sync` makes named objects durable, which is what fsync(2) on a mounted file needs and close(2) does not. */

import { execFile } from 'node:child_process'
import { randomInt } from 'node:crypto'
import fs from 'node:fs'
import { dirname } from 'node:path'
import { call, codeOf, ignore } from '../base/call.ts'
import { EINVAL, errnoOf } from '../base/errno.ts'
import { Fault } from '../base/fault.ts'
import { loadFile, saveFile } from '../base/whole-file.ts'
import { listFiles } from './file-list.ts'
import { type ByteRange, type ObjectInfo, ObjectMissing, type ObjectStore } from './store.ts'

/** More keys than this are synced by one syncfs(2) of the file system instead of file by file. */
const SYNC_ONE_BY_ONE = 64
/** directories remembered as durable; beyond, they are synced once more */
const MAX_DURABLE_DIRS = 10_000

export class FileStore implements ObjectStore {
  readonly description: string
  readonly limits = { rangeReads: true, maxListPage: 10_000 }
  /** ends with a slash */
  readonly #root: string
  /** directories whose name in their parent is known to survive a power cut */
  readonly #durableDirs = new Set<string>()

  /** `root` is an absolute directory; a missing final slash is added. */
  constructor(root: string) {
    this.#root = root.endsWith('/') ? root : `${root}/`
    this.description = `file://${this.#root}`
  }

  async get(key: string, range?: ByteRange, expectedBytes?: number): Promise<Buffer> {
    const path = this.#path(key)
    try {
      if (range) return await this.#read(path, range.offset, range.length)
      if (expectedBytes !== undefined) {
        const bytes = await this.#read(path, 0, expectedBytes + 1)
        if (bytes.length === expectedBytes) return bytes
      }
      const { size } = await call<fs.Stats>(done => fs.stat(path, done))
      return await this.#read(path, 0, size)
    } catch (error) {
      throw asFault(error, key, `get object ${key}`)
    }
  }

  async put(key: string, body: Buffer): Promise<void> {
    const path = this.#path(key)
    try {
      if (key.endsWith('/')) return await this.#makeBelowRoot(path.slice(0, -1))
      try {
        await putFile(path, body)
      } catch (error) {
        if (codeOf(error) !== 'ENOENT') throw error
        await this.#makeBelowRoot(dirname(path))
        await putFile(path, body)
      }
    } catch (error) {
      throw asFault(error, null, `put object ${key}`)
    }
  }

  async delete(key: string): Promise<void> {
    const path = this.#path(key)
    try {
      await call<void>(done => (key.endsWith('/') ? fs.rmdir(path, done) : fs.unlink(path, done)))
    } catch (error) {
      if (isMissing(error)) return
      throw asFault(error, null, `delete object ${key}`)
    }
  }

  async head(key: string): Promise<ObjectInfo | null> {
    try {
      const stat = await call<fs.Stats>(done => fs.stat(this.#path(key), done))
      return { key, size: stat.isDirectory() ? 0 : stat.size, mtimeMs: stat.mtimeMs, isDirectory: stat.isDirectory() }
    } catch (error) {
      if (isMissing(error)) return null
      throw asFault(error, null, `head object ${key}`)
    }
  }

  async list(prefix: string, marker: string, limit: number): Promise<ObjectInfo[]> {
    try {
      return await listFiles(this.#root, prefix, marker, limit)
    } catch (error) {
      throw asFault(error, null, `list objects ${prefix}`)
    }
  }

  async create(): Promise<void> {
    try {
      await this.#makeDirectory(this.#root.slice(0, -1))
      await this.#syncNames([this.#root.slice(0, -1)])
    } catch (error) {
      throw asFault(error, null, `make directory ${this.#root}`)
    }
  }

  async sync(keys: readonly string[]): Promise<void> {
    try {
      if (keys.length > SYNC_ONE_BY_ONE && (await syncFileSystem(this.#root))) return
      const paths = keys.map(key => this.#path(key))
      const missing: string[] = []
      await eachOf(paths, async path => void ((await syncData(path)) || missing.push(path)))
      if (missing.length > 0) {
        // An object deleted meanwhile has nothing left to sync; objects of a bucket that is away do.
        await call<fs.Stats>(done => fs.stat(this.#root, done))
        await eachOf(missing, async path => void (await syncData(path)))
      }
      const directories = new Set(paths.map(path => dirname(path)))
      await eachOf([...directories], syncDirectory)
      await this.#syncNames([...directories])
    } catch (error) {
      throw asFault(error, null, `sync ${keys.length} objects`)
    }
  }

  async close(): Promise<void> {}

  /** Fewer than `length` bytes where the file ends. */
  async #read(path: string, offset: number, length: number): Promise<Buffer> {
    const bytes = Buffer.allocUnsafeSlow(length)
    return bytes.subarray(0, await loadFile(path, offset, bytes))
  }

  #path(key: string): string {
    // A key is joined to the root as it stands; one that climbs out of it would touch files that are not ours.
    if (key === '' || key.split('/').includes('..')) {
      throw new Fault(`object key ${JSON.stringify(key)} is invalid`, { errno: EINVAL })
    }
    return this.#root + key
  }

  /** Makes what is missing below the root, never the root itself: where that is away for a while (moved, not mounted), a new
   *  one would take objects that nobody finds when the old one is back. */
  async #makeBelowRoot(path: string): Promise<void> {
    const make = (): Promise<void> => call<void>(done => fs.mkdir(path, { mode: 0o777 }, done))
    if (`${path}/` === this.#root) {
      await call<fs.Stats>(done => fs.stat(path, done))
      return
    }
    try {
      await make().catch(async error => {
        if (codeOf(error) !== 'ENOENT') throw error
        await this.#makeBelowRoot(dirname(path))
        await make()
      })
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error
    }
  }

  async #makeDirectory(path: string): Promise<void> {
    await call<string | undefined>(done => fs.mkdir(path, { recursive: true, mode: 0o777 }, done))
  }

  /** Makes the names of these directories durable, and those of all above them: the bucket itself may be new. */
  async #syncNames(directories: readonly string[]): Promise<void> {
    const pending = new Set<string>()
    for (let path of directories) {
      while (path !== '/' && !this.#durableDirs.has(path)) {
        pending.add(path)
        path = dirname(path)
      }
    }
    if (pending.size === 0) return
    const parents = new Set([...pending].map(path => dirname(path)))
    await eachOf([...parents], async path => {
      try {
        await syncDirectory(path)
      } catch (error) {
        // above the bucket lie directories of others, which we did not make and may not even read
        if (codeOf(error) !== 'EACCES' || `${path}/`.startsWith(this.#root)) throw error
      }
    })
    if (this.#durableDirs.size > MAX_DURABLE_DIRS) this.#durableDirs.clear()
    for (const path of pending) this.#durableDirs.add(path)
  }
}

function putFile(path: string, body: Buffer): Promise<void> {
  const slash = path.lastIndexOf('/')
  const name = path.slice(slash + 1, slash + 1 + 200)
  const temporary = `${path.slice(0, slash)}/.jfs.${name}.tmp.${randomInt(2 ** 47)}`
  return saveFile(temporary, path, [body], { mode: 0o666, exclusive: true })
}

/** False where there is no such file. */
async function syncData(path: string): Promise<boolean> {
  return syncPath(path, fs.fdatasync)
}
async function syncDirectory(path: string): Promise<void> {
  await syncPath(path, fs.fsync)
}
async function syncPath(path: string, sync: (fd: number, done: fs.NoParamCallback) => void): Promise<boolean> {
  let fd: number
  try {
    fd = await call<number>(done => fs.open(path, 'r', done))
  } catch (error) {
    if (isMissing(error)) return false
    throw error
  }
  try {
    await call<void>(done => sync(fd, done))
    return true
  } finally {
    fs.close(fd, ignore)
  }
}

/** syncfs(2) by way of coreutils, since Node has no call for it. False where it could not be done: sync file by file. */
function syncFileSystem(path: string): Promise<boolean> {
  return new Promise(resolve => {
    execFile('sync', ['-f', path], error => resolve(error === null))
  })
}

/** All at once: libuv's thread pool is the limiter, and parallel syncs share journal commits. */
async function eachOf(paths: readonly string[], work: (path: string) => Promise<void>): Promise<void> {
  await Promise.all(paths.map(work))
}

const isMissing = (error: unknown): boolean => codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR'
/** a directory where an object is looked for */
const isNoObject = (error: unknown): boolean => isMissing(error) || codeOf(error) === 'EISDIR'

/** `key` given: a missing file means a missing object. */
function asFault(error: unknown, key: string | null, doing: string): Fault {
  if (error instanceof Fault) return error
  if (key !== null && isNoObject(error)) return new ObjectMissing(key, error)
  return new Fault(doing, { errno: errnoOf(error), cause: error })
}
