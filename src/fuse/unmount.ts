/** Takes a mount away by a helper process, never by a system call of the serving process itself: the kernel may write dirty pages
 *  back within umount2(2), and would wait for the very process that is inside it. */

import { execFile } from 'node:child_process'
import { ENOENT, errnoOf } from '../base/errno.ts'
import { Fault } from '../base/fault.ts'

/** What init and cron leave out of the search path. */
const MORE_PLACES = '/usr/bin:/bin:/usr/sbin:/sbin'

/** By fusermount, which may unmount what its user mounted; by umount(8) where there is none. `lazy`: at once, while open files live on
 *  until they are closed. A Fault with the helper's words when it cannot. */
export async function unmountFuse(mountPoint: string, options: { readonly lazy: boolean }): Promise<void> {
  for (const [command, flags] of [
    ['fusermount3', options.lazy ? ['-uz'] : ['-u']],
    ['fusermount', options.lazy ? ['-uz'] : ['-u']],
    ['umount', options.lazy ? ['-l'] : []],
  ] as const) {
    const problem = await runHelper(command, [...flags, '--', mountPoint])
    if (problem === null) return
    if (problem !== MISSING) throw new Fault(problem)
  }
  throw new Fault(`umount ${mountPoint}: neither fusermount3 nor umount was found`)
}

const MISSING = 'missing'

/** null when it ended well, else what it said on one line. */
function runHelper(command: string, args: readonly string[]): Promise<string | null> {
  return new Promise(resolve => {
    const env = { ...process.env, PATH: `${process.env.PATH ?? ''}:${MORE_PLACES}` }
    execFile(command, args, { env }, (error, _stdout, stderr) => {
      if (!error) resolve(null)
      else if (errnoOf(error) === ENOENT) resolve(MISSING)
      else resolve(stderr.trim().split('\n')[0] || error.message)
    })
  })
}
