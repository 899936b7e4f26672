/** Takes a mount away by a helper process. Never by a system call of the serving process itself: the kernel may write back dirty
 *  pages in that call, and would wait for the very process that is inside it. */

import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { CommandError } from './exit.ts'

/** By fusermount, which may unmount what its user mounted; by umount(8) where there is none. The helper's words are the error. */
export async function unmountPath(mountPoint: string, options: { readonly lazy: boolean }): Promise<void> {
  const helper = ['/usr/bin/fusermount3', '/bin/fusermount3', '/usr/bin/fusermount', '/bin/fusermount'].find(existsSync)
  const [file, args] = helper
    ? [helper, [options.lazy ? '-uz' : '-u', mountPoint]]
    : ['umount', [...(options.lazy ? ['-l'] : []), mountPoint]]
  await new Promise<void>((resolve, reject) => {
    execFile(file, args, (error, _stdout, stderr) => {
      if (error) reject(new CommandError(stderr.trim().split('\n')[0] || error.message))
      else resolve()
    })
  })
}
