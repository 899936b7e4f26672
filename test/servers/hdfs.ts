/** HDFS: a name node and a data node in one Java process. */

import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { programPath, type RunningProgram, serversDir, skipWithout, startProgram } from './programs.ts'

const archives = join(serversDir, 'hadoop')

export const skipHdfs: string | false =
  skipWithout('java') || (!existsSync(join(archives, 'complete')) && 'hadoop not installed (scripts/setup-servers.sh)')

export function startHdfs(): Promise<RunningProgram> {
  return startProgram({
    name: 'hdfs',
    waitMs: 90_000,
    ready: /^ready$/m,
    command(port, dir) {
      const script = join(dirname(import.meta.filename), 'MiniHdfs.java')
      const flags = ['-Xmx384m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-cp', `${archives}/*`]
      return [programPath('java')!, ...flags, script, String(port), dir]
    },
  })
}
