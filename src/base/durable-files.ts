/** Makes files below one directory survive a power cut: their bytes, their names, and the names of the directories above them. */

import { dirname } from 'node:path'
import { codeOf } from './call.ts'
import { syncData, syncDirectory, syncFileSystem } from './whole-file.ts'

/** More files than this are synced by one syncfs(2) of the file system instead of one by one. */
const ONE_BY_ONE = 64
/** directories remembered as durable; beyond, they are synced once more */
const MOST_KNOWN = 10_000

/** The calls that it consists of; the tests' are others. */
export interface SyncCalls {
  readonly syncData: (path: string) => Promise<void>
  readonly syncDirectory: (path: string) => Promise<void>
  readonly syncFileSystem: (path: string) => Promise<boolean>
}

export class DurableFiles {
  /** ends with a slash */
  readonly #root: string
  readonly #calls: SyncCalls
  /** directories whose name in their parent is known to survive */
  readonly #known = new Set<string>()

  /** `root` ends with a slash. */
  constructor(root: string, calls: SyncCalls = { syncData, syncDirectory, syncFileSystem }) {
    this.#root = root
    this.#calls = calls
  }

  /** Resolves to the paths that do not exist, when all others are durable. Rejects as node:fs does: then nothing is known. */
  async sync(paths: readonly string[]): Promise<string[]> {
    // Where that fails, it may be for somebody else's file: each of ours then tells for itself.
    if (paths.length > ONE_BY_ONE && (await this.#calls.syncFileSystem(this.#root).catch(() => false))) return []
    const missing: string[] = []
    await eachOf(paths, async path => void ((await isDone(this.#calls.syncData(path))) || missing.push(path)))
    const directories = [...new Set(paths.map(path => dirname(path)))]
    await eachOf(directories, async path => void (await isDone(this.#calls.syncDirectory(path))))
    await this.syncNames(directories)
    return missing
  }

  /** Makes the names of these directories durable, and those of all above them: the root itself may be new. */
  async syncNames(directories: readonly string[]): Promise<void> {
    const pending = new Set<string>()
    for (let path of directories) {
      while (path !== '/' && !this.#known.has(path)) {
        pending.add(path)
        path = dirname(path)
      }
    }
    if (pending.size === 0) return
    const parents = new Set([...pending].map(path => dirname(path)))
    const missing = new Set<string>()
    await eachOf([...parents], async path => {
      try {
        if (!(await isDone(this.#calls.syncDirectory(path)))) missing.add(path)
      } catch (error) {
        // above the root lie directories of others, which we did not make and may not even read
        if (codeOf(error) !== 'EACCES' || `${path}/`.startsWith(this.#root)) throw error
      }
    })
    if (this.#known.size > MOST_KNOWN) this.#known.clear()
    for (const path of pending) if (!missing.has(dirname(path))) this.#known.add(path)
  }
}

/** All at once: libuv's thread pool is the limiter, and parallel syncs share journal commits. */
async function eachOf(paths: readonly string[], work: (path: string) => Promise<void>): Promise<void> {
  await Promise.all(paths.map(work))
}

/** False where there is no such file. */
const isDone = (sync: Promise<void>): Promise<boolean> =>
  sync.then(
    () => true,
    error => {
      if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return false
      throw error
    },
  )
