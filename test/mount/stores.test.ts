/** Volumes whose objects lie on servers: formatted, mounted, written, mounted again without a cache and read back. */

import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { RunningProgram } from '../servers/programs.ts'
import { RedisServer, redisSkip } from '../servers/redis.ts'
import { ACCESS_KEY, SECRET_KEY, skipVersity, startVersity } from '../servers/s3.ts'
import { skipSshd, startSshd } from '../servers/sshd.ts'
import { PASSWORD, skipApache, startApache, USER } from '../servers/webdav.ts'
import { cli, mountSkip, newVolume, type TestVolume } from './harness.ts'

interface Place {
  readonly format: readonly string[]
  readonly env?: Record<string, string>
  stop(): Promise<void>
}

const keys = (user: string, password: string): string[] => ['--access-key', user, '--secret-key', password]
const at = (server: RunningProgram, bucket: string, rest: readonly string[], storage: string): Place => ({
  format: ['--storage', storage, '--bucket', bucket, ...rest],
  stop: () => server.stop(),
})

const places: readonly (readonly [name: string, skip: string | false, start: () => Promise<Place>])[] = [
  [
    's3',
    skipVersity,
    async () => {
      const server = await startVersity()
      return at(server, `http://127.0.0.1:${server.port}/new-bucket`, keys(ACCESS_KEY, SECRET_KEY), 's3')
    },
  ],
  [
    's3 in three buckets',
    skipVersity,
    async () => {
      const server = await startVersity()
      const more = [...keys(ACCESS_KEY, SECRET_KEY), '--shards', '3', '--compress', 'lz4', '--hash-prefix']
      return at(server, `http://127.0.0.1:${server.port}/part-%d`, more, 's3')
    },
  ],
  [
    'webdav',
    skipApache,
    async () => {
      const server = await startApache('Basic')
      return at(server, `http://127.0.0.1:${server.port}/objects/`, keys(USER, PASSWORD), 'webdav')
    },
  ],
  [
    'sftp',
    skipSshd,
    async () => {
      const server = await startSshd()
      const place = at(server, `127.0.0.1:${server.port}:${server.dir}/files/objects/`, [], 'sftp')
      return { ...place, env: { SSH_PRIVATE_KEY_PATH: join(server.dir, 'user') } }
    },
  ],
  [
    'redis',
    redisSkip,
    async () => {
      const server = await RedisServer.start()
      const format = ['--storage', 'redis', '--bucket', `redis://127.0.0.1:${server.port}/2`]
      return { format, stop: () => server.remove() }
    },
  ],
]

const sum = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex')

describe('a volume on', { skip: mountSkip }, () => {
  for (const [name, skip, start] of places) {
    it(`${name} reads back what was written, after a new mount without a cache`, { skip }, async () => {
      const place = await start()
      let volume: TestVolume | undefined
      try {
        volume = newVolume({ format: place.format, ...(place.env && { env: place.env }) })
        const big = join(volume.mountPoint, 'big')
        const small = join(volume.mountPoint, 'small')
        volume.mount(['--backup-meta', '0'])
        writeFileSync(big, randomBytes((9 << 20) + 17))
        writeFileSync(small, 'hello')
        const before = [sum(big), sum(small)]
        volume.unmount()
        volume.mount(['--backup-meta', '0', '--cache-size', '0', '--check-storage'])
        assert.equal(statSync(big).size, (9 << 20) + 17)
        assert.deepEqual([sum(big), sum(small)], before)
        volume.unmount()
      } finally {
        volume?.remove()
        await place.stop()
      }
    })
  }
})

describe('format on a server', { skip: skipVersity }, () => {
  async function attempt(
    change: (format: string[], port: number) => void,
    check: (ran: ReturnType<typeof cli>, server: RunningProgram) => void | Promise<void>,
  ): Promise<void> {
    const server = await startVersity()
    const meta = join(server.dir, 'meta.db')
    const format = [
      '--storage',
      's3',
      '--bucket',
      `http://127.0.0.1:${server.port}/box`,
      ...keys(ACCESS_KEY, SECRET_KEY),
    ]
    try {
      change(format, server.port)
      await check(cli(['format', ...format, `sqlite3://${meta}`, 'trial']), server)
    } finally {
      await server.stop()
    }
  }
  const replace = (format: string[], flag: string, value: string): void => {
    format[format.indexOf(flag) + 1] = value
  }

  it('makes the bucket, keeps the secret encrypted and never prints it', async () => {
    await attempt(
      () => {},
      async ({ status, stdout, stderr }, { dir }) => {
        assert.equal(status, 0, stderr)
        assert.ok(!(stdout + stderr).includes(SECRET_KEY))
        assert.match(stderr, /"SecretKey": "removed"/)
        assert.ok(!readFileSync(join(dir, 'meta.db')).includes(SECRET_KEY))
        assert.deepEqual(await readdir(join(dir, 'data', 'box', 'trial')), ['juicefs_uuid'])
      },
    )
  })

  it('says at once that the keys are wrong', async () => {
    await attempt(
      format => replace(format, '--secret-key', 'wrong'),
      ({ status, stderr }) => {
        assert.equal(status, 1)
        assert.match(
          stderr,
          /<FATAL>: Storage s3:\/\/box\/trial\/ is not configured correctly: .*SignatureDoesNotMatch/,
        )
        assert.doesNotMatch(stderr, /tries: #2/)
      },
    )
  })

  it('says within seconds that nobody answers, and where', async () => {
    await attempt(
      format => replace(format, '--bucket', 'http://127.0.0.1:9/box'),
      ({ status, stderr }) => {
        assert.equal(status, 1)
        assert.match(stderr, /put object trial\/testing\/\w+: connect to http:\/\/127\.0\.0\.1:9: connect ECONNREFUSED/)
        assert.doesNotMatch(stderr, /tries: #3/)
      },
    )
  })

  it('refuses a name below which somebody’s objects lie', async () => {
    await attempt(
      () => {},
      async (first, { dir, port }) => {
        assert.equal(first.status, 0, first.stderr)
        const format = ['--storage', 's3', '--bucket', `http://127.0.0.1:${port}/box`, ...keys(ACCESS_KEY, SECRET_KEY)]
        const second = cli(['format', ...format, `sqlite3://${join(dir, 'other.db')}`, 'trial'])
        assert.equal(second.status, 1)
        assert.match(second.stderr, /Storage s3:\/\/box\/trial\/ is not empty/)
      },
    )
  })

  it('and config tries new keys before it stores them', async () => {
    await attempt(
      () => {},
      async (first, { dir }) => {
        assert.equal(first.status, 0, first.stderr)
        const url = `sqlite3://${join(dir, 'meta.db')}`
        const wrong = cli(['config', url, '--secret-key', 'wrong'])
        assert.equal(wrong.status, 1)
        assert.match(wrong.stderr, /SignatureDoesNotMatch/)
        const same = cli(['config', url, '--secret-key', SECRET_KEY, '--access-key', ACCESS_KEY])
        assert.equal(same.stdout, 'Nothing changed.\n')
      },
    )
  })
})
