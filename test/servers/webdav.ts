/** Two WebDAV servers: Apache's mod_dav, with Basic or Digest authentication, and rclone's. */

import { createHash } from 'node:crypto'
import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { programPath, type RunningProgram, skipWithout, startProgram } from './programs.ts'

export const USER = 'alice'
export const PASSWORD = 'se:cret'

export const skipApache = skipWithout('apache2')
export const skipRclone = skipWithout('rclone')

const MODULES = 'mpm_event authn_core authn_file authz_core authz_user auth_basic auth_digest dav dav_fs'

export function startApache(auth: 'Basic' | 'Digest'): Promise<RunningProgram> {
  return startProgram({
    name: 'apache',
    async command(port, dir) {
      // mkdtemp makes it private, and the server leaves root for a user of its own
      await chmod(dir, 0o755)
      for (const name of ['www', 'lock']) {
        await mkdir(join(dir, name))
        await chmod(join(dir, name), 0o777)
      }
      const digest = createHash('md5').update(`${USER}:trial:${PASSWORD}`).digest('hex')
      const sha1 = createHash('sha1').update(PASSWORD).digest('base64')
      await writeFile(join(dir, 'users'), auth === 'Basic' ? `${USER}:{SHA}${sha1}\n` : `${USER}:trial:${digest}\n`)
      const modules = MODULES.split(' ').map(
        name => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`,
      )
      const config = `
        ${modules.join('\n')}
        ServerName localhost
        ServerRoot ${dir}
        PidFile ${dir}/pid
        ErrorLog ${dir}/error.log
        Listen 127.0.0.1:${port}
        User www-data
        Group www-data
        DocumentRoot ${dir}/www
        DavLockDB ${dir}/lock/db
        <Directory ${dir}/www>
          Dav On
          AuthType ${auth}
          AuthName trial
          ${auth === 'Basic' ? '' : 'AuthDigestProvider file'}
          AuthUserFile ${dir}/users
          Require valid-user
        </Directory>`
      await writeFile(join(dir, 'apache.conf'), config)
      return [programPath('apache2')!, '-D', 'FOREGROUND', '-f', join(dir, 'apache.conf')]
    },
  })
}

export function startRcloneWebdav(): Promise<RunningProgram> {
  return startProgram({
    name: 'rclone',
    async command(port, dir) {
      await mkdir(join(dir, 'www'))
      const cache = ['--cache-dir', join(dir, 'cache'), '--dir-cache-time', '0s']
      return [programPath('rclone')!, 'serve', 'webdav', join(dir, 'www'), '--addr', `127.0.0.1:${port}`, ...cache]
    },
    env: { RCLONE_CONFIG: '/dev/null' },
  })
}
