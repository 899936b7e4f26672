/** Objects as files below one directory (storage `file`; layout: spec data-objects section 4.1).
 *
 *      {root}{key}                                a block
 *      {dir}/.jfs.{basename ≤ 200}.tmp.{number}   while being put; a rename makes the object visible all at once
 *
 *  The callback API of node:fs is wrapped by hand: fs.promises costs about twice the CPU per call. A put is not synced;
 *  `sync` makes named objects durable, which is what fsync(2) on a mounted file needs and close(2) does not. */

import { randomInt } from 'node:crypto'
import fs from 'node:fs'
import { dirname } from 'node:path'
import { call, codeOf } from '../base/call.ts'
import { DurableFiles } from '../base/durable-files.ts'
import { EINVAL, errnoOf } from '../base/errno.ts'
import { Fault } from '../base/fault.ts'
import { ownBytes } from '../base/own-memory.ts'
import { loadFile, saveFile } from '../base/whole-file.ts'
import { listFiles } from './file-list.ts'
import { type ByteRange, type ObjectFiles, type ObjectInfo, ObjectMissing, type ObjectStore } from './store.ts'

export class FileStore implements ObjectStore {
  readonly description: string
  readonly limits = { rangeReads: true, maxListPage: 10_000 }
  readonly files: ObjectFiles
  /** ends with a slash */
  readonly #root: string
  readonly #siblings: readonly string[]
  readonly #durable: DurableFiles

  /** `root` is an absolute directory; a missing final slash is added. `siblings`: the roots of all shards, this one among them. */
  constructor(root: string, siblings: readonly string[] = []) {
    this.#root = root.endsWith('/') ? root : `${root}/`
    this.#siblings = siblings
    this.#durable = new DurableFiles(this.#root)
    this.files = { directories: [this.#root], pathOf: key => this.#path(key) }
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
      await makePath(this.#root.slice(0, -1))
      await this.#durable.syncNames([this.#root.slice(0, -1)])
    } catch (error) {
      throw asFault(error, null, `make directory ${this.#root}`)
    }
  }

  async sync(keys: readonly string[]): Promise<void> {
    try {
      const missing = await this.#durable.sync(keys.map(key => this.#path(key)))
      if (missing.length === 0) return
      // An object deleted meanwhile has nothing left to sync; objects of a bucket that is away do.
      await call<fs.Stats>(done => fs.stat(this.#root, done))
      await this.#durable.sync(missing)
    } catch (error) {
      throw asFault(error, null, `sync ${keys.length} objects`)
    }
  }

  async close(): Promise<void> {}

  /** Fewer than `length` bytes where the file ends. */
  async #read(path: string, offset: number, length: number): Promise<Buffer> {
    const bytes = ownBytes(length)
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
   *  one would take objects that nobody finds when the old one is back. Except a shard: JuiceFS makes its directory only when the
   *  first object comes to it. */
  async #makeBelowRoot(path: string): Promise<void> {
    if (`${path}/` !== this.#root) await makeDirectory(path, above => this.#makeBelowRoot(above))
    else if (await this.#isWhereSiblingsLie(path)) await makePath(path)
    else await call<fs.Stats>(done => fs.stat(path, done))
  }

  /** Would it be on the disk on which other shards are? Then no disk of its own is missing. */
  async #isWhereSiblingsLie(path: string): Promise<boolean> {
    const deviceOf = (at: string): Promise<number | null> =>
      call<fs.Stats>(done => fs.stat(at, done)).then(
        ({ dev }) => dev,
        () => null,
      )
    let above = path
    let device: number | null = null
    while (device === null && above !== '/') {
      above = dirname(above)
      device = await deviceOf(above)
    }
    for (const sibling of this.#siblings) if (device !== null && (await deviceOf(sibling)) === device) return true
    return false
  }
}

/** Makes a directory, and by `makeAbove` the one it lies in where that is missing. One that is there is fine. */
async function makeDirectory(path: string, makeAbove: (path: string) => Promise<void>): Promise<void> {
  const make = (): Promise<void> => call<void>(done => fs.mkdir(path, { mode: 0o777 }, done))
  try {
    await make().catch(async error => {
      if (codeOf(error) !== 'ENOENT') throw error
      await makeAbove(dirname(path))
      await make()
    })
  } catch (error) {
    if (codeOf(error) !== 'EEXIST' || !(await call<fs.Stats>(done => fs.stat(path, done))).isDirectory()) throw error
  }
}

/** The whole path. Not by `recursive`: Node repeats that forever where a file system refuses with ENOENT, as /proc does. */
const makePath = (path: string): Promise<void> => makeDirectory(path, makePath)

function putFile(path: string, body: Buffer): Promise<void> {
  const slash = path.lastIndexOf('/')
  const name = path.slice(slash + 1, slash + 1 + 200)
  const temporary = `${path.slice(0, slash)}/.jfs.${name}.tmp.${randomInt(2 ** 47)}`
  return saveFile(temporary, path, [body], { mode: 0o666, exclusive: true })
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
