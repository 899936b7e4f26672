/** Paths as the kernel sees them. */

import { mkdirSync, readlinkSync, realpathSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { codeOf } from '../base/call.ts'

/** Makes a directory and those above it. Not by `recursive`: Node repeats that forever where a file system refuses with ENOENT,
 *  as /proc does. Throws the error of mkdir(2); an existing directory is fine. */
export function makeDirectory(path: string): void {
  try {
    mkdirSync(path, 0o777)
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return
    if (codeOf(error) !== 'ENOENT' || dirname(path) === path) throw error
    makeDirectory(dirname(path))
    mkdirSync(path, 0o777)
  }
}

/** Absolute and without symbolic links. Of the last part only that is asked, where it is one: a dead mount answers nothing else, and
 *  it may not exist yet. */
export function canonicalPath(path: string, links = MOST_LINKS): string {
  const full = resolve(path)
  if (full === '/') return full
  const place = join(realpathSync(dirname(full)), basename(full))
  const target = linkTarget(place)
  if (target === null) return place
  if (links === 0) throw Object.assign(new Error(`${path}: too many symbolic links`), { code: 'ELOOP' })
  return canonicalPath(resolve(dirname(place), target), links - 1)
}

/** As many as the kernel follows. */
const MOST_LINKS = 40

function linkTarget(path: string): string | null {
  try {
    return readlinkSync(path)
  } catch {
    return null
  }
}

/** Is `path` the directory itself, or below it? Parts that do not exist yet are taken as they are written. */
export function isInside(path: string, directory: string): boolean {
  const written = existingCanonical(resolve(path))
  return [written, targetOf(written)].some(
    full => full === directory || full.startsWith(directory.endsWith('/') ? directory : `${directory}/`),
  )
}

/** Where a link leads; the path itself where it is none, or where it leads cannot be asked. */
function targetOf(path: string): string {
  try {
    return realpathSync(path)
  } catch {
    return path
  }
}

function existingCanonical(path: string): string {
  if (path === '/') return path
  try {
    return canonicalPath(path)
  } catch {
    return join(existingCanonical(dirname(path)), basename(path))
  }
}
