/** Objects as files on an SSH server (storage `sftp`): `{path}{key}`, written beside under a name of their own and then renamed, as
 *  the local files are (spec data-objects section 4). */

import { randomInt } from 'node:crypto'
import type { FileEntryWithStats, SFTPWrapper, Stats } from 'ssh2'
import { EINVAL } from '../../base/errno.ts'
import { Fault } from '../../base/fault.ts'
import { ownBytes } from '../../base/own-memory.ts'
import { type ByteRange, type ObjectInfo, ObjectMissing, type ObjectStore, Refused } from '../store.ts'
import { type TreeEntry, walkTree } from '../tree-walk.ts'
import { type Place, placeOf } from './login.ts'
import { type Done, SftpSession } from './session.ts'

/** Status codes of SFTP version 3. */
const NO_SUCH_FILE = 2
const PERMISSION_DENIED = 3

/** One request carries so much; every server takes 32 KiB. */
const PIECE = 32 << 10
/** requests of one object under way, so that the line is never idle for an answer */
const PIECES_AT_ONCE = 64

export interface SftpSetting {
  readonly bucket: string
  readonly accessKey?: string | undefined
  readonly secretKey?: string | undefined
}

export class SftpStore implements ObjectStore {
  readonly description: string
  readonly limits = { rangeReads: true, maxListPage: 10_000 }
  readonly #place: Place
  readonly #session: SftpSession

  /** Does no I/O. */
  constructor(
    { bucket, accessKey, secretKey }: SftpSetting,
    env: Readonly<Record<string, string | undefined>>,
    silenceMs?: number,
  ) {
    this.#place = placeOf(bucket, accessKey)
    const { host, port, user, root } = this.#place
    this.#session = new SftpSession(this.#place, secretKey ?? '', env, silenceMs)
    this.description = `${user}@${host}:${port}:${root}`
  }

  async get(key: string, range?: ByteRange): Promise<Buffer> {
    try {
      const handle = await this.#call<Buffer>((sftp, done) => sftp.open(this.#path(key), 'r', done))
      try {
        const { size } = await this.#call<Stats>((sftp, done) => sftp.fstat(handle, done))
        const { offset, length } = range ?? { offset: 0, length: size }
        return await this.#readPieces(handle, offset, Math.max(0, Math.min(length, size - offset)))
      } finally {
        this.#closeHandle(handle)
      }
    } catch (error) {
      if (codeOf(error) === NO_SUCH_FILE) throw new ObjectMissing(key, error)
      throw asFault(error, `get object ${key}`)
    }
  }

  async put(key: string, body: Buffer): Promise<void> {
    const path = this.#path(key)
    try {
      if (key.endsWith('/')) return await this.#makeDirectories(path.slice(0, -1))
      await this.#putFile(path, body).catch(async error => {
        if (codeOf(error) !== NO_SUCH_FILE) throw error
        await this.#makeDirectories(parentOf(path))
        await this.#putFile(path, body)
      })
    } catch (error) {
      throw asFault(error, `put object ${key}`)
    }
  }

  async delete(key: string): Promise<void> {
    const path = this.#path(key)
    try {
      await this.#call<void>((sftp, done) => (key.endsWith('/') ? sftp.rmdir(path, done) : sftp.unlink(path, done)))
    } catch (error) {
      if (codeOf(error) !== NO_SUCH_FILE) throw asFault(error, `delete object ${key}`)
    }
  }

  async head(key: string): Promise<ObjectInfo | null> {
    try {
      const stat = await this.#call<Stats>((sftp, done) => sftp.stat(this.#path(key), done))
      return { ...infoOf(key, stat), isDirectory: stat.isDirectory() }
    } catch (error) {
      if (codeOf(error) === NO_SUCH_FILE) return null
      throw asFault(error, `head object ${key}`)
    }
  }

  async list(prefix: string, marker: string, limit: number): Promise<ObjectInfo[]> {
    try {
      return await walkTree(directory => this.#readDirectory(directory), prefix, marker, limit)
    } catch (error) {
      throw asFault(error, `list objects ${prefix}`)
    }
  }

  async create(): Promise<void> {
    const { root } = this.#place
    try {
      await this.#makeDirectories(root.endsWith('/') ? root.slice(0, -1) : parentOf(root))
    } catch (error) {
      throw asFault(error, `make directory ${root}`)
    }
  }

  /** By an extension of OpenSSH. A server without it says so once a put is to survive a power cut. */
  async sync(keys: readonly string[]): Promise<void> {
    const syncOne = async (key: string): Promise<void> => {
      try {
        const handle = await this.#call<Buffer>((sftp, done) => sftp.open(this.#path(key), 'r+', done))
        try {
          await this.#call<void>((sftp, done) => sftp.ext_openssh_fsync(handle, done))
        } finally {
          this.#closeHandle(handle)
        }
      } catch (error) {
        // An object deleted meanwhile has nothing left to sync.
        if (codeOf(error) !== NO_SUCH_FILE) throw asFault(error, `sync object ${key}`)
      }
    }
    await atMost(PIECES_AT_ONCE, keys, syncOne)
  }

  async close(): Promise<void> {
    this.#session.close()
  }

  #call<T>(start: (sftp: SFTPWrapper, done: Done<T>) => void): Promise<T> {
    return this.#session.call(start)
  }

  #path(key: string): string {
    if (key === '' || key.split('/').includes('..')) {
      throw new Fault(`object key ${JSON.stringify(key)} is invalid`, { errno: EINVAL })
    }
    return this.#place.root + key
  }

  async #readPieces(handle: Buffer, offset: number, length: number): Promise<Buffer> {
    const bytes = ownBytes(length)
    await atMost(PIECES_AT_ONCE, pieces(length), async at => {
      let from = at
      const end = Math.min(length, at + PIECE)
      // A server may answer with less than it was asked for.
      while (from < end) {
        const got = await this.#call<number>((sftp, done) =>
          sftp.read(handle, bytes, from, end - from, offset + from, done),
        )
        if (!got) throw new Fault(`the file ends at ${offset + from} of ${offset + length} bytes`)
        from += got
      }
    })
    return bytes
  }

  async #putFile(path: string, body: Buffer): Promise<void> {
    const name = path.slice(path.lastIndexOf('/') + 1).slice(0, 200)
    const temporary = `${parentOf(path)}/.jfs.${name}.tmp.${randomInt(2 ** 47)}`
    const handle = await this.#call<Buffer>((sftp, done) => sftp.open(temporary, 'wx', { mode: 0o666 }, done))
    try {
      try {
        await atMost(PIECES_AT_ONCE, pieces(body.length), at =>
          this.#call<void>((sftp, done) => {
            sftp.write(handle, body, at, Math.min(PIECE, body.length - at), at, done)
          }),
        )
      } finally {
        await this.#call<void>((sftp, done) => sftp.close(handle, done))
      }
      await this.#rename(temporary, path)
    } catch (error) {
      await this.#call<void>((sftp, done) => sftp.unlink(temporary, done)).catch(() => {})
      throw error
    }
  }

  /** Over the target, by OpenSSH's extension; other servers refuse a target that exists. */
  async #rename(from: string, to: string): Promise<void> {
    try {
      await this.#call<void>((sftp, done) => sftp.ext_openssh_rename(from, to, done))
    } catch (error) {
      if (!/does not support/.test(String(error))) throw error
      await this.#call<void>((sftp, done) => sftp.unlink(to, done)).catch(() => {})
      await this.#call<void>((sftp, done) => sftp.rename(from, to, done))
    }
  }

  async #makeDirectories(path: string): Promise<void> {
    const make = (): Promise<void> => this.#call<void>((sftp, done) => sftp.mkdir(path, { mode: 0o777 }, done))
    try {
      await make().catch(async error => {
        if (codeOf(error) !== NO_SUCH_FILE || !path.includes('/', 1)) throw error
        await this.#makeDirectories(parentOf(path))
        await make()
      })
    } catch (error) {
      // SFTP has no word for "exists".
      const stat = await this.#call<Stats>((sftp, done) => sftp.stat(path, done)).catch(() => null)
      if (!stat?.isDirectory()) throw error
    }
  }

  async #readDirectory(directory: string): Promise<TreeEntry[]> {
    const path = (this.#place.root + directory).replace(/[^/]*$/, '') || '.'
    const entries = await this.#call<FileEntryWithStats[]>((sftp, done) => sftp.readdir(path, done)).catch(error => {
      if (codeOf(error) === NO_SUCH_FILE || codeOf(error) === PERMISSION_DENIED) return []
      throw error
    })
    // A root without a slash at its end is the beginning of names.
    const begin = directory === '' ? this.#place.root.slice(this.#place.root.lastIndexOf('/') + 1) : ''
    const found: TreeEntry[] = []
    for (const { filename, attrs } of entries) {
      if (filename === '.' || filename === '..' || !filename.startsWith(begin)) continue
      const key = directory + filename.slice(begin.length)
      const target = attrs.isSymbolicLink() ? await this.#target(path + filename) : attrs
      if (target?.isDirectory()) found.push({ key: `${key}/`, describe: () => null })
      else if (target?.isFile()) found.push({ key, describe: () => infoOf(key, target) })
    }
    return found
  }

  #target(path: string): Promise<Stats | null> {
    return this.#call<Stats>((sftp, done) => sftp.stat(path, done)).catch(() => null)
  }

  #closeHandle(handle: Buffer): void {
    this.#call<void>((sftp, done) => sftp.close(handle, done)).catch(() => {})
  }
}

const infoOf = (key: string, { size, mtime }: { readonly size: number; readonly mtime: number }): ObjectInfo => ({
  key,
  size,
  mtimeMs: mtime * 1000,
  isDirectory: false,
})

const parentOf = (path: string): string =>
  path.slice(0, Math.max(path.lastIndexOf('/'), 0)) || (path.startsWith('/') ? '/' : '.')

const pieces = (length: number): number[] => Array.from({ length: Math.ceil(length / PIECE) }, (_, i) => i * PIECE)

async function atMost<T>(limit: number, items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < items.length) await work(items[next++]!)
  }
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker))
}

const codeOf = (error: unknown): number | undefined => (error as { code?: number } | null)?.code

function asFault(error: unknown, doing: string): Fault {
  if (error instanceof ObjectMissing || error instanceof Refused) return error
  if (codeOf(error) === PERMISSION_DENIED) return new Refused(doing, error)
  return new Fault(doing, { cause: error })
}
