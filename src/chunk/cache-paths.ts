/** The value of `--cache-dir` (spec disk-cache section 1): paths separated by `:`, or by `,` where there is no `:`, each of which may
 *  hold wildcards. Known limits are those of the reference: a path cannot contain its separator. */

import { readdir } from 'node:fs/promises'
import { join } from 'node:path'

const WILDCARDS = /[*?[\\]/

export function splitCacheDirs(text: string): string[] {
  return text.split(text.includes(':') ? ':' : ',').filter(path => path !== '')
}

/** Absolute paths, sorted, each once. Plain paths are taken as they are; of a path with wildcards those that exist, and what stands
 *  behind its last wildcard is taken as it is, to be made where it is missing. */
export async function expandCacheDirs(text: string): Promise<string[]> {
  const paths = await Promise.all(splitCacheDirs(text).map(expand))
  return [...new Set(paths.flat())].sort()
}

async function expand(path: string): Promise<string[]> {
  const parts = path.split('/').filter(part => part !== '')
  const last = parts.findLastIndex(part => WILDCARDS.test(part))
  let found = ['/']
  for (const part of parts.slice(0, last + 1)) {
    const matches = await Promise.all(found.map(directory => matching(directory, part)))
    found = matches.flat()
  }
  const rest = parts.slice(last + 1).join('/')
  return found.map(directory => join(directory, rest))
}

/** Below a directory, what the pattern matches; a plain name only where it exists. A leading dot needs no dot in the pattern, as
 *  the reference has it. */
async function matching(directory: string, pattern: string): Promise<string[]> {
  const names = await readdir(directory).catch(() => [])
  const wanted = patternOf(pattern)
  return names.filter(name => wanted.test(name)).map(name => join(directory, name))
}

/** `*` any text, `?` one character, `[a-z]` and `[^a-z]` one of a set, `\x` the character itself. */
function patternOf(pattern: string): RegExp {
  const literal = (text: string): string => text.replace(/[.*+?^${}()|[\]\\/-]/g, '\\$&')
  const source = pattern.replace(
    /\\(.)|(\*)|(\?)|\[(\^?)((?:\\.|[^\]\\])+)\]|(.)/gsu,
    (whole, escaped, star, mark, not, set, plain) => {
      if (escaped !== undefined) return literal(escaped)
      if (star !== undefined) return '.*'
      if (mark !== undefined) return '.'
      if (set !== undefined) return `[${not}${(set as string).replace(/[[&~^]/g, '\\$&')}]`
      return literal(plain ?? whole)
    },
  )
  return new RegExp(`^${source}$`, 's')
}
