/** Finds the compiled addon (native/). Its functions answer 0 or more, or a negative errno; who uses some of them types them. */

import { createRequire } from 'node:module'
import { isMainThread } from 'node:worker_threads'
import { openLog } from './log.ts'

/** of what these sources call (native/version.h) */
export const ADDON_VERSION = 2

let loaded: unknown

/** The addon, or null where it has not been built for this machine, or from other sources (or JUICEFS_TS_NO_ADDON asks to do
 *  without). */
export function addon(): unknown {
  if (loaded === undefined) loaded = process.env.JUICEFS_TS_NO_ADDON ? null : load()
  return loaded
}

function load(): unknown {
  // The same two steps up from src/base and from dist/base.
  const path = `../../native/juicefs_fuse-${process.arch}.node`
  let found: { readonly version?: number }
  try {
    found = createRequire(import.meta.url)(path)
  } catch {
    return null // Not built: plain TypeScript serves instead, and the log says so where it matters.
  }
  const { version = 0 } = found
  if (version === ADDON_VERSION) return found
  if (isMainThread) warnOf(version)
  return null
}

/** There is no log down here, and whatever command this is: whoever pulled new sources must hear of it. */
function warnOf(version: number): void {
  const write = (line: string): void => void process.stderr.write(line)
  openLog({ level: 'WARNING', colour: false, id: '', write }).warn(
    `the native addon is of version ${version}, these sources need version ${ADDON_VERSION}: run \`npm run setup\`; it is left out until then`,
  )
}
