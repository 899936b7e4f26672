/** Two S3 servers that have nothing in common: versitygw (Go, its own gateway over files) and S3Proxy (Java, jclouds). */

import { execFile } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { programPath, type RunningProgram, skipWithout, startProgram } from './programs.ts'

export const ACCESS_KEY = 'testak'
export const SECRET_KEY = 'testsk12345'

export const skipVersity = skipWithout('versitygw')
export const skipS3Proxy = skipWithout('s3proxy.jar', 'java')

export interface S3ServerOptions {
  /** PEM files */
  readonly tls?: { readonly cert: string; readonly key: string }
  /** further ones of versitygw; of Java instead of the small and quickly started machine that tests want */
  readonly flags?: readonly string[]
}

/** Buckets are directories below `data` in the program's directory. */
export function startVersity({ tls, flags = [] }: S3ServerOptions = {}): Promise<RunningProgram> {
  return startProgram({
    name: 'versitygw',
    async command(port, dir) {
      await mkdir(join(dir, 'data'))
      const secure = tls ? ['--cert', tls.cert, '--key', tls.key] : []
      return [programPath('versitygw')!, '--port', `127.0.0.1:${port}`, ...secure, ...flags, 'posix', join(dir, 'data')]
    },
    env: { ROOT_ACCESS_KEY: ACCESS_KEY, ROOT_SECRET_KEY: SECRET_KEY },
  })
}

const SMALL_JAVA = ['-Xmx256m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1']

/** Buckets are directories below `data` in the program's directory. */
export function startS3Proxy({ tls, flags = SMALL_JAVA }: S3ServerOptions = {}): Promise<RunningProgram> {
  return startProgram({
    name: 's3proxy',
    waitMs: 60_000,
    async command(port, dir) {
      await mkdir(join(dir, 'data'))
      const config = {
        's3proxy.ignore-unknown-headers': 'true',
        ...(tls ? await secureEndpoint(port, dir, tls) : { 's3proxy.endpoint': `http://127.0.0.1:${port}` }),
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

/** Java reads its key and certificate from one file. */
async function secureEndpoint(
  port: number,
  dir: string,
  { cert, key }: { readonly cert: string; readonly key: string },
) {
  const [store, password] = [join(dir, 'keys.p12'), 'secret']
  const args = ['-export', '-in', cert, '-inkey', key, '-out', store, '-passout', `pass:${password}`]
  await promisify(execFile)('openssl', ['pkcs12', ...args])
  return {
    's3proxy.secure-endpoint': `https://127.0.0.1:${port}`,
    's3proxy.keystore-path': store,
    's3proxy.keystore-password': password,
  }
}
