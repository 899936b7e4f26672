/** Two S3 servers that have nothing in common: versitygw (Go, its own gateway over files) and S3Proxy (Java, jclouds). */

import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { programPath, type RunningProgram, skipWithout, startProgram } from './programs.ts'

export const ACCESS_KEY = 'testak'
export const SECRET_KEY = 'testsk12345'

export const skipVersity = skipWithout('versitygw')
export const skipS3Proxy = skipWithout('s3proxy.jar', 'java')

export function startVersity(): Promise<RunningProgram> {
  return startProgram({
    name: 'versitygw',
    async command(port, dir) {
      await mkdir(join(dir, 'data'))
      return [programPath('versitygw')!, '--port', `127.0.0.1:${port}`, 'posix', join(dir, 'data')]
    },
    env: { ROOT_ACCESS_KEY: ACCESS_KEY, ROOT_SECRET_KEY: SECRET_KEY },
  })
}

export function startS3Proxy(): Promise<RunningProgram> {
  return startProgram({
    name: 's3proxy',
    waitMs: 60_000,
    async command(port, dir) {
      await mkdir(join(dir, 'data'))
      const config = {
        's3proxy.ignore-unknown-headers': 'true',
        's3proxy.endpoint': `http://127.0.0.1:${port}`,
        's3proxy.authorization': 'aws-v2-or-v4',
        's3proxy.identity': ACCESS_KEY,
        's3proxy.credential': SECRET_KEY,
        'jclouds.provider': 'filesystem-nio2',
        'jclouds.identity': 'x',
        'jclouds.credential': 'x',
        'jclouds.filesystem.basedir': join(dir, 'data'),
      }
      const lines = Object.entries(config).map(([name, value]) => `${name}=${value}\n`)
      await writeFile(join(dir, 's3proxy.conf'), lines.join(''))
      const flags = ['-Xmx256m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1']
      return [
        programPath('java')!,
        ...flags,
        '-jar',
        programPath('s3proxy.jar')!,
        '--properties',
        join(dir, 's3proxy.conf'),
      ]
    },
  })
}
