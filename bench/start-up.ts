/** How long until the program answers, and until a mount serves. `node` alone, the limit, is measured beside.
 *
 *    node bench/start-up.ts [--runs 5] */

import { spawnSync } from 'node:child_process'
import { statSync } from 'node:fs'
import { launcher, newVolume } from '../test/mount/harness.ts'
import { median, optionsOf, printTable } from './harness.ts'

const { runs } = optionsOf({ runs: 5 })

function millis(work: () => void): number {
  const start = performance.now()
  work()
  return performance.now() - start
}
function starts(file: string, args: readonly string[]): void {
  const ran = spawnSync(file, args, { stdio: ['ignore', 'ignore', 'inherit'] })
  if (ran.status !== 0) throw new Error(`${file} ${args.join(' ')}: ${ran.status}`)
}

const times: Record<'node' | 'version' | 'mount', number[]> = { node: [], version: [], mount: [] }
const volume = newVolume()
try {
  for (let run = 0; run <= runs; run++) {
    const found = {
      node: millis(() => starts(process.execPath, ['-e', '0'])),
      version: millis(() => starts(launcher, ['version'])),
      mount: millis(() => {
        volume.mount(['--no-usage-report'])
        if (statSync(volume.mountPoint).ino !== 1) throw new Error('the mount does not answer')
      }),
    }
    volume.unmount()
    if (run > 0) for (const key of ['node', 'version', 'mount'] as const) times[key].push(found[key])
  }
} finally {
  volume.remove()
}
const row = (what: string, key: keyof typeof times, goalMs: number | null): string[] => {
  const at = median(times[key])
  const goal = goalMs === null ? '' : `${goalMs}${at > goalMs ? ', missed' : ''}`
  return [what, at.toFixed(0), (at / median(times.node)).toFixed(1), goal]
}
printTable(
  ['', 'ms', 'times node', 'goal ms'],
  [row('node -e 0', 'node', null), row('version', 'version', 60), row('mount -d, until it answers', 'mount', 500)],
)
