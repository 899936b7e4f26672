/** Volumes that the reference implementation wrote, mounted here: every entry is given back exactly. */

import assert from 'node:assert/strict'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'

import { cli, mountSkip, projectRoot, run } from '../mount/harness.ts'
import { PostgresServer, postgresSkip } from '../servers/postgres.ts'
import { RedisServer, redisSkip } from '../servers/redis.ts'
import { goldenSkip, PASSPHRASE, unpackGolden } from './volumes.ts'

interface GoldenEngine {
  readonly skip: string | false
  /** Serves the metadata that lie in the volume's folder. */
  readonly start: (volume: string) => Promise<{ readonly url: string; readonly stop: () => Promise<void> }>
}
const sqlite: GoldenEngine = {
  skip: false,
  start: async volume => ({ url: `sqlite3://${join(volume, 'volume.db')}`, stop: async () => undefined }),
}
const postgres: GoldenEngine = {
  skip: postgresSkip,
  start: async volume => {
    const server = await PostgresServer.start()
    const database = server.newDatabase()
    server.sql(readFileSync(join(volume, 'volume.sql'), 'utf8'), database)
    return { url: server.url(database), stop: () => server.stop() }
  },
}
const redis: GoldenEngine = {
  skip: redisSkip,
  start: async volume => {
    const server = await RedisServer.start({
      prepare: dir => cpSync(join(volume, 'volume.rdb'), join(dir, 'dump.rdb')),
    })
    return { url: server.url(3), stop: () => server.remove() }
  },
}
const VOLUMES: readonly { readonly name: string; readonly engine: GoldenEngine }[] = [
  { name: 'sqlite-plain', engine: sqlite },
  { name: 'sqlite-lz4-hash', engine: sqlite },
  { name: 'sqlite-zstd-rsa', engine: sqlite },
  { name: 'sqlite-chacha', engine: sqlite },
  { name: 'postgres', engine: postgres },
  { name: 'redis', engine: redis },
]

interface TreeEntry {
  readonly kind: string
  readonly group?: string
}

/** A group of hard links is named after one of its paths; which one depends on the walk, so both sides take the first. */
function namedByFirst(tree: Record<string, TreeEntry>): Record<string, TreeEntry> {
  const first = new Map<string, string>()
  for (const path of Object.keys(tree).sort()) {
    const group = tree[path]?.group
    if (group !== undefined && !first.has(group)) first.set(group, path)
  }
  return Object.fromEntries(
    Object.entries(tree).map(([path, entry]) => [
      path,
      entry.group === undefined ? entry : { ...entry, group: first.get(entry.group)! },
    ]),
  )
}

describe('golden volumes', { skip: mountSkip || goldenSkip }, () => {
  let dir: string
  before(() => {
    dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-golden-'))
    unpackGolden(dir, ...VOLUMES.map(({ name }) => name))
  })
  after(() => rmSync(dir, { recursive: true, force: true }))

  for (const { name, engine } of VOLUMES) {
    it(`${name} gives back every entry of tree.json`, { skip: engine.skip }, async () => {
      const volume = join(dir, name)
      const mountPoint = join(dir, `mnt-${name}`)
      mkdirSync(mountPoint)
      const { url, stop } = await engine.start(volume)
      const mounted = cli([
        'mount', '-d', '--no-syslog', '--no-bgjob', '--enable-xattr', '--bucket', `${join(volume, 'objects')}/`, '--cache-dir', join(dir, 'cache'),
        '--log', join(dir, `${name}.log`), '--metrics', '127.0.0.1:0', url, mountPoint,
      ], { JFS_RSA_PASSPHRASE: PASSPHRASE }) // biome-ignore format: one command line
      try {
        assert.equal(mounted.status, 0, mounted.stderr)
        const walked = await run('python3', [join(projectRoot, 'test/golden/walk.py'), mountPoint])
        assert.equal(walked.status, 0, walked.stderr)
        const seen = JSON.parse(walked.stdout) as Record<string, TreeEntry>
        const told = namedByFirst(
          JSON.parse(readFileSync(join(volume, 'tree.json'), 'utf8')) as Record<string, TreeEntry>,
        )
        assert.deepEqual(Object.keys(seen).sort(), Object.keys(told).sort())
        for (const [path, entry] of Object.entries(told)) assert.deepEqual(seen[path], entry, `entry ${path}`)
      } finally {
        const unmounted = cli(['umount', mountPoint])
        await stop()
        assert.equal(unmounted.status, 0, unmounted.stderr)
      }
    })
  }

  for (const [what, env, why] of [
    ['without its passphrase', {}, /passphrase is required to private key: please set the 'JFS_RSA_PASSPHRASE'/],
    ['with a wrong passphrase', { JFS_RSA_PASSPHRASE: 'wrong' }, /the passphrase in JFS_RSA_PASSPHRASE is wrong/],
  ] as const) {
    it(`an encrypted volume is not mounted ${what}`, () => {
      const volume = join(dir, 'sqlite-chacha')
      const mountPoint = join(dir, 'mnt-refused')
      mkdirSync(mountPoint, { recursive: true })
      const args = [
        'mount',
        '-d',
        '--no-syslog',
        '--bucket',
        `${join(volume, 'objects')}/`,
        '--log',
        join(dir, 'refused.log'),
      ]
      const ran = cli([...args, `sqlite3://${join(volume, 'volume.db')}`, mountPoint], env)
      assert.equal(ran.status, 1)
      assert.match(ran.stderr, why)
    })
  }
})
