/** Is this a place to mount on? Makes the directory, takes a dead mount away, refuses what would surprise. */

import { accessSync, constants } from 'node:fs'
import { stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { codeOf } from '../base/call.ts'
import type { Log } from '../base/log.ts'
import { FUSE_TYPE } from '../fuse/constants.ts'
import { unmountFuse } from '../fuse/unmount.ts'
import { CommandError, messageOf } from './exit.ts'
import { mountAt } from './mount-table.ts'
import { canonicalPath, makeDirectory } from './paths.ts'
import { askMount } from './running-mount.ts'

/** The path as the mount table will spell it. CommandError with the reason why not. */
export async function prepareMountPoint(
  path: string,
  options: { readonly force: boolean; readonly log: Log },
): Promise<string> {
  const { log } = options
  let mountPoint = canonical(path)
  if (mountPoint === '/') throw new CommandError('should not mount on the root directory')
  const mount = mountAt(mountPoint)
  if (mount?.type === FUSE_TYPE) {
    const problem = await trouble(mountPoint)
    if (problem === 'ENOTCONN' || problem === 'ECONNABORTED') {
      log.info(`mountpoint "${mountPoint}" is broken (${problem}), umount it`)
      await unmountFuse(mountPoint, { lazy: true })
    } else if (problem === 'timeout') {
      throw new CommandError(`"${mountPoint}" is mounted by ${mount.source} and does not answer: umount -l it first`)
    } else if (!options.force) {
      throw new CommandError(
        `"${mountPoint}" is already mounted by ${mount.source}: umount it first, or use --force to mount on top`,
      )
    }
  }
  try {
    makeDirectory(mountPoint)
    mountPoint = canonical(path)
    if (!(await stat(mountPoint)).isDirectory()) throw new CommandError(`"${mountPoint}" is not a directory`)
  } catch (error) {
    if (error instanceof CommandError) throw error
    if (codeOf(error) === 'EEXIST' || codeOf(error) === 'ENOTDIR')
      throw new CommandError(`create "${path}": not a directory`)
    throw new CommandError(`create "${path}": ${messageOf(error)}`)
  }
  if (process.getuid?.() !== 0) {
    try {
      accessSync(mountPoint, constants.W_OK)
    } catch {
      throw new CommandError(`Do not have write permission on "${mountPoint}"`)
    }
  }
  return mountPoint
}

function canonical(path: string): string {
  try {
    return canonicalPath(path)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return makeParents(path)
    throw new CommandError(
      `mount point "${path}": ${codeOf(error) === 'ENOTDIR' ? 'not a directory' : messageOf(error)}`,
    )
  }
}

function makeParents(path: string): string {
  try {
    makeDirectory(resolve(path))
    return canonicalPath(path)
  } catch (error) {
    throw new CommandError(`create "${path}": ${messageOf(error)}`)
  }
}

/** What whoever serves a mounted directory says: undefined when all is well, `timeout` when nobody answers. Asked for the file system,
 *  which no kernel answers out of its memory, as it does for attributes. */
async function trouble(path: string): Promise<string | undefined> {
  const { problem, isTimeout } = await askMount('stat', ['-f', '-c', '%i', '--', path])
  if (isTimeout) return 'timeout'
  if (problem === null) return undefined
  return /not connected/.test(problem) ? 'ENOTCONN' : /connection abort/.test(problem) ? 'ECONNABORTED' : 'EIO'
}
