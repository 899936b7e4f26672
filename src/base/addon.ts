/** Finds the compiled addon (native/). Its functions answer 0 or more, or a negative errno; who uses some of them types them. */

import { createRequire } from 'node:module'

let loaded: unknown

/** The addon, or null where it has not been built for this machine (or JUICEFS_TS_NO_ADDON asks to do without). */
export function addon(): unknown {
  if (loaded !== undefined) return loaded
  loaded = null
  if (!process.env.JUICEFS_TS_NO_ADDON) {
    try {
      // The same two steps up from src/base and from dist/base.
      loaded = createRequire(import.meta.url)(`../../native/juicefs_fuse-${process.arch}.node`)
    } catch {
      // Not built: plain TypeScript serves instead, and the log says so where it matters.
    }
  }
  return loaded
}
