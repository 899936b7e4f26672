/** OpenSSH's server, with keys made for the test; whoever runs the test logs in. */

import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { copyFile, mkdir, writeFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { programPath, type RunningProgram, skipWithout, startProgram } from './programs.ts'

export const skipSshd = skipWithout('sshd', 'ssh-keygen')

/** Private keys of the user: `dir/user`; the host's public key: `dir/host.pub`; files go to `dir/files`. */
export function startSshd(): Promise<RunningProgram> {
  return startProgram({
    name: 'sshd',
    async command(port, dir) {
      if (userInfo().uid === 0) mkdirSync('/run/sshd', { recursive: true, mode: 0o755 })
      for (const name of ['host', 'user', 'stranger']) {
        execFileSync(programPath('ssh-keygen')!, ['-q', '-t', 'ed25519', '-N', '', '-f', join(dir, name)])
      }
      await copyFile(join(dir, 'user.pub'), join(dir, 'authorized'))
      await mkdir(join(dir, 'files'))
      const config = `
        ListenAddress 127.0.0.1
        Port ${port}
        HostKey ${dir}/host
        PidFile none
        AuthorizedKeysFile ${dir}/authorized
        StrictModes no
        UsePAM no
        PermitRootLogin yes
        PasswordAuthentication no
        MaxStartups 100
        Subsystem sftp internal-sftp`
      await writeFile(join(dir, 'sshd.conf'), config)
      return [programPath('sshd')!, '-D', '-e', '-f', join(dir, 'sshd.conf')]
    },
  })
}
