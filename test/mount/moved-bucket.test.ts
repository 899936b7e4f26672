/** A volume whose bucket is changed, while it is mounted and while it is not: nothing but its own bucket is ever used. */

import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort, programPath } from '../servers/programs.ts'
import { ACCESS_KEY, SECRET_KEY, skipVersity } from '../servers/s3.ts'
import { cli, launcher, mountSkip, newVolume, run, type TestVolume } from './harness.ts'

const OPTIONS = ['--no-bgjob', '--heartbeat', '1s', '--cache-size', '0']
/** Nothing but a test or a script in a hurry skips the checks of `config`. */
const FORCED = ['config', '--force', '--bucket']

const logOf = (volume: TestVolume): string => readFileSync(volume.logFile, 'utf8')
async function logged(volume: TestVolume, words: RegExp): Promise<void> {
  for (let i = 0; i < 80 && !words.test(logOf(volume)); i++) await sleep(100)
  assert.match(logOf(volume), words)
}
const chunksIn = (bucket: string): boolean => existsSync(join(bucket, 'test-volume', 'chunks'))

function rsaKey(path: string): string {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  writeFileSync(path, privateKey.export({ type: 'pkcs8', format: 'pem' }))
  return path
}

const answers = (port: number): Promise<boolean> =>
  new Promise(resolve => {
    const socket = connect(port, '127.0.0.1', () => resolve(socket.destroy() !== undefined))
    socket.once('error', () => resolve(false))
  })

describe('the bucket of another volume', { skip: mountSkip }, () => {
  it('is not followed by a running mount, which goes on where it was and says so', async () => {
    const [volume, other] = [newVolume(), newVolume()]
    try {
      volume.mount(OPTIONS)
      const bytes = randomBytes(100_000)
      writeFileSync(join(volume.mountPoint, 'a'), bytes, { flush: true })
      assert.equal(cli([...FORCED, other.bucket, volume.metaUrl]).status, 0)
      await logged(volume, /cannot be followed.*is the bucket of volume [0-9a-f-]{36}, not of/)
      writeFileSync(join(volume.mountPoint, 'b'), bytes, { flush: true })
      for (const name of ['a', 'b']) assert.ok(readFileSync(join(volume.mountPoint, name)).equals(bytes))
      assert.ok(!chunksIn(other.bucket))
      // Set right again, nothing has happened.
      assert.equal(cli([...FORCED, volume.bucket, volume.metaUrl]).status, 0)
      await sleep(1500)
      writeFileSync(join(volume.mountPoint, 'c'), bytes, { flush: true })
      volume.unmount()
    } finally {
      volume.remove()
      other.remove()
    }
  })

  it('is refused by config, unless it is forced', () => {
    const [volume, other] = [newVolume(), newVolume()]
    try {
      const ran = cli(['config', '--yes', '--bucket', other.bucket, volume.metaUrl])
      assert.equal(ran.status, 1)
      assert.match(ran.stderr, /is the bucket of volume [0-9a-f-]{36}, not of/)
      assert.match(cli(['config', volume.metaUrl]).stdout, new RegExp(`"Bucket": "${volume.bucket}/"`))
    } finally {
      volume.remove()
      other.remove()
    }
  })

  it('is told by what it was sealed with, where both are encrypted or one of them is', () => {
    const plain = newVolume()
    const dir = plain.dir
    const [one, two] = ['one.pem', 'two.pem'].map(name =>
      newVolume({ format: ['--encrypt-rsa-key', rsaKey(join(dir, name))] }),
    ) as [TestVolume, TestVolume]
    try {
      const mountedOn = (volume: TestVolume, other: TestVolume): string => {
        const ran = cli([
          'mount',
          '-d',
          '--no-syslog',
          '--log',
          volume.logFile,
          '--no-bgjob',
          '--bucket',
          other.bucket,
          volume.metaUrl,
          volume.mountPoint,
        ])
        assert.equal(ran.status, 1, ran.stderr)
        return ran.stderr
      }
      assert.match(mountedOn(one, two), /<FATAL>: .* is not the bucket of this volume: .*sealed with another key/)
      assert.match(mountedOn(one, plain), /<FATAL>: .* is not the bucket of this volume/)
      const shown = mountedOn(plain, one)
      assert.match(shown, /<FATAL>: .* is not the bucket of volume [0-9a-f-]{36}: its juicefs_uuid holds no UUID/)
      assert.doesNotMatch(shown, /[\u0080-\uffff]/)
    } finally {
      for (const volume of [plain, one, two]) volume.remove()
    }
  })
})

describe('a bucket that is empty or away', { skip: mountSkip }, () => {
  it('is followed once the objects are there', async () => {
    const volume = newVolume()
    try {
      volume.mount([...OPTIONS, '--io-retries', '3'])
      const bytes = randomBytes(100_000)
      writeFileSync(join(volume.mountPoint, 'a'), bytes, { flush: true })
      const moved = join(volume.dir, 'moved')
      mkdirSync(moved)
      assert.equal(cli(['config', '--yes', '--bucket', moved, volume.metaUrl]).status, 0)
      await logged(volume, /cannot be followed.*is empty/)
      assert.ok(readFileSync(join(volume.mountPoint, 'a')).equals(bytes))
      assert.ok(!chunksIn(moved))
      cpSync(volume.bucket, moved, { recursive: true })
      rmSync(volume.bucket, { recursive: true })
      await logged(volume, /Data use file:\/\/.*\/moved\/test-volume\//)
      assert.ok(readFileSync(join(volume.mountPoint, 'a')).equals(bytes))
      writeFileSync(join(volume.mountPoint, 'b'), bytes, { flush: true })
      assert.ok(!existsSync(volume.bucket))
      assert.ok(readdirSync(moved).length > 0)
      volume.unmount()
    } finally {
      volume.remove()
    }
  })
})

describe('the keys of a mounted volume', { skip: mountSkip || skipVersity }, () => {
  it('that are wrong are not followed while the old ones are right; that have expired are replaced under a waiting writer', async () => {
    const NEW_SECRET = 'another-secret'
    const dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-keys-'))
    const port = await freePort()
    const serve = async (secret: string): Promise<ChildProcess> => {
      const child = spawn(programPath('versitygw')!, ['--port', `127.0.0.1:${port}`, 'posix', dir], {
        env: { ...process.env, ROOT_ACCESS_KEY: ACCESS_KEY, ROOT_SECRET_KEY: secret },
        stdio: 'ignore',
      })
      for (let i = 0; i < 100 && !(await answers(port)); i++) await sleep(50)
      return child
    }
    const end = async (child: ChildProcess): Promise<void> => {
      const ended = once(child, 'exit')
      child.kill('SIGKILL')
      await ended
    }
    let server = await serve(SECRET_KEY)
    const bucket = `http://127.0.0.1:${port}/box`
    const volume = newVolume({
      format: ['--storage', 's3', '--bucket', bucket, '--access-key', ACCESS_KEY, '--secret-key', SECRET_KEY],
    })
    try {
      volume.mount(OPTIONS)
      const at = (name: string): string => join(volume.mountPoint, name)
      const write = (name: string): ReturnType<typeof run> =>
        run('dd', ['if=/dev/urandom', `of=${at(name)}`, 'bs=100k', 'count=1', 'conv=fsync'], { timeoutMs: 40_000 })
      assert.equal((await write('a')).status, 0)

      const config = (...args: string[]): ReturnType<typeof run> => run(launcher, ['config', ...args, volume.metaUrl])
      assert.equal((await config('--force', '--secret-key', 'wrong')).status, 0)
      await logged(volume, /cannot be followed.*SignatureDoesNotMatch/)
      assert.equal((await write('b')).status, 0)

      await end(server)
      server = await serve(NEW_SECRET)
      const writing = write('c')
      await logged(volume, /PUT chunks.*SignatureDoesNotMatch.*will try again/)
      const changed = await config('--secret-key', NEW_SECRET)
      assert.equal(changed.status, 0, changed.stderr)
      const written = await writing
      assert.equal(written.status, 0, written.stderr)
      for (const name of ['a', 'b', 'c']) assert.equal(readFileSync(at(name)).length, 102_400)
      assert.ok(!logOf(volume).includes(NEW_SECRET) && !logOf(volume).includes(SECRET_KEY))
      volume.unmount()
    } finally {
      volume.remove()
      await end(server)
      rmSync(dir, { recursive: true, force: true })
    }
  })
})
