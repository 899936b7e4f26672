/** `compact PATH…`: has the mount that serves the paths merge the slices of their files (spec cli section 7.13). */

import { realpathSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { ask, OP_COMPACT } from './control-client.ts'
import { EXIT_FAILED, messageOf } from './exit.ts'
import type { Options } from './flags.ts'
import { withLine } from './progress.ts'
import { log as terminalLog } from './terminal-log.ts'

const MOST_THREADS = 65_535

export async function run(options: Options, args: readonly string[]): Promise<number> {
  const log = terminalLog()
  const threads = Math.max(1, Math.min(options.number('threads'), MOST_THREADS))
  let code = 0
  for (const arg of args) {
    const path = resolve(arg)
    try {
      const stat = statSync(path, { bigint: true })
      const body = Buffer.alloc(10)
      body.writeBigUInt64BE(stat.ino, 0)
      body.writeUInt16BE(threads, 8)
      let [found, done] = [0, 0]
      const ended = (): Promise<string> =>
        ask(stat.isDirectory() ? path : dirname(realpathSync(path)), OP_COMPACT, body, (a, b) => {
          ;[found, done] = [a, b]
        })
      await withLine(() => `Compacted chunks: ${done}/${found}`, ended)
      log.info(`compact [${stat.ino}:"${path}"] success.`)
    } catch (error) {
      log.error(`compact ${arg}: ${messageOf(error)}`)
      code = EXIT_FAILED
    }
  }
  return code
}
