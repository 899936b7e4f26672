/** What a full volume and spent quotas mean for programs, and what stays counted; which volumes are not touched at all. */

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, renameSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { cli, mountSkip, newVolume, type TestVolume } from './harness.ts'

/** Does something with the database of a volume, past every client. */
function withDatabase<T>(volume: TestVolume, use: (database: DatabaseSync) => T): T {
  const database = new DatabaseSync(join(volume.dir, 'meta.db'))
  try {
    database.exec('PRAGMA busy_timeout = 5000')
    return use(database)
  } finally {
    database.close()
  }
}
const settingOf = (volume: TestVolume): string =>
  withDatabase(
    volume,
    database =>
      (database.prepare("SELECT value FROM jfs_setting WHERE name = 'format'").get() as { value: string }).value,
  )
function changeSetting(volume: TestVolume, changes: Record<string, unknown>): void {
  const value = JSON.stringify({ ...(JSON.parse(settingOf(volume)) as object), ...changes })
  withDatabase(volume, database =>
    database.prepare("UPDATE jfs_setting SET value = ? WHERE name = 'format'").run(value),
  )
}
const errorOf = (action: () => unknown): string | undefined => {
  try {
    action()
    return undefined
  } catch (error) {
    const { code, errno } = error as NodeJS.ErrnoException
    return errno === -122 ? 'EDQUOT' : code // a number without a name in Node
  }
}
const OPTIONS = ['--backup-meta', '0', '--heartbeat', '1']

describe('a volume with a capacity and an inode limit', { skip: mountSkip }, () => {
  let volume: TestVolume
  let root: string
  before(() => {
    volume = newVolume({ format: ['--trash-days', '0', '--capacity', '0.02', '--inodes', '20'] })
    volume.mount(OPTIONS)
    root = volume.mountPoint
  })
  after(() => volume.remove())

  it('is shown by df', () => {
    const df = (...args: string[]): string[] =>
      spawnSync('df', [...args, root], { encoding: 'utf8' })
        .stdout.trim()
        .split('\n')
        .at(-1)!
        .split(/\s+/)
    const capacity = Math.floor(0.02 * 2 ** 30)
    assert.ok(Math.abs(Number(df('-B1')[1]) - capacity) < 4096)
    assert.equal(df('-i')[1], '20')
  })

  it('tells a writer by ENOSPC, at the write, the fsync or the close', () => {
    const fill = (end: string): string =>
      spawnSync('python3', [
        '-c',
        `import os, sys
f = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)
try:
    for i in range(40): os.write(f, b'x' * (1 << 20))
    ${end}
    print('no error')
except OSError as e: print(e.errno)`,
        join(root, 'big'),
      ])
        .stdout.toString()
        .trim()
    assert.equal(fill('os.close(f)'), '28')
    rmSync(join(root, 'big'))
    assert.equal(fill('os.fsync(f)'), '28')
    rmSync(join(root, 'big'))
    writeFileSync(join(root, 'fits again'), 'x')
    rmSync(join(root, 'fits again'))
  })

  it('tells who makes too many files by ENOSPC, and takes some again when others are gone', () => {
    let made = 0
    while (errorOf(() => writeFileSync(join(root, `f${made}`), '')) === undefined) made++
    assert.ok(made >= 18 && made <= 20, `${made}`)
    assert.equal(
      errorOf(() => mkdirSync(join(root, 'dir'))),
      'ENOSPC',
    )
    rmSync(join(root, 'f0'))
    assert.equal(
      errorOf(() => mkdirSync(join(root, 'dir'))),
      undefined,
    )
  })
})

describe('a directory with a quota', { skip: mountSkip }, () => {
  let volume: TestVolume
  let at: (name: string) => string
  let ino: number
  before(() => {
    volume = newVolume({ format: ['--trash-days', '0'] })
    at = name => join(volume.mountPoint, name)
    volume.mount(OPTIONS)
    for (const dir of ['quota', 'quota/sub', 'outside']) mkdirSync(at(dir))
    ino = statSync(at('quota')).ino
    volume.unmount()
    withDatabase(volume, database =>
      database.prepare('INSERT INTO jfs_dir_quota VALUES (?, ?, ?, 4096, 1)').run(ino, 1 << 20, 8),
    )
    volume.mount(OPTIONS)
  })
  after(() => volume.remove())
  /** The stored use when it is so, else what it is after five seconds: usage is flushed now and then. */
  const use = async (space: number, inodes: number): Promise<void> => {
    const read = (): unknown =>
      withDatabase(volume, database => {
        const row = database.prepare('SELECT used_space s, used_inodes i FROM jfs_dir_quota WHERE inode = ?').get(ino)
        return [row?.s, row?.i]
      })
    const wanted = JSON.stringify([space, inodes])
    for (let i = 0; i < 100 && JSON.stringify(read()) !== wanted; i++) await sleep(50)
    assert.deepEqual(read(), [space, inodes])
  }
  const PAGE = 4096

  it('counts what is made, written, cut, moved in and out, linked and removed', async () => {
    writeFileSync(at('quota/a'), 'x')
    await use(2 * PAGE, 2)
    writeFileSync(at('quota/sub/b'), Buffer.alloc(10 * PAGE))
    await use(12 * PAGE, 3)
    truncateSync(at('quota/sub/b'), 1)
    await use(3 * PAGE, 3)
    mkdirSync(at('outside/tree'))
    writeFileSync(at('outside/tree/c'), Buffer.alloc(PAGE + 1))
    renameSync(at('outside/tree'), at('quota/tree'))
    await use(6 * PAGE, 5)
    renameSync(at('quota/tree/c'), at('quota/sub/c'))
    await use(6 * PAGE, 5)
    renameSync(at('quota/sub/c'), at('outside/c'))
    await use(4 * PAGE, 4)
    rmSync(at('quota/sub/b'))
    rmSync(at('quota/tree'), { recursive: true })
    rmSync(at('quota/a'))
    await use(PAGE, 1)
  })

  it('refuses what goes beyond it with EDQUOT, and nothing beside it', async () => {
    assert.equal(
      errorOf(() => writeFileSync(at('quota/big'), Buffer.alloc(2 << 20))),
      'EDQUOT',
    )
    rmSync(at('quota/big'))
    writeFileSync(at('outside/big'), Buffer.alloc(2 << 20))
    assert.equal(
      errorOf(() => renameSync(at('outside/big'), at('quota/big'))),
      'EDQUOT',
    )
    for (let i = 0; i < 7; i++) writeFileSync(at(`quota/${i}`), '')
    assert.equal(
      errorOf(() => mkdirSync(at('quota/one-more'))),
      'EDQUOT',
    )
    assert.equal(
      errorOf(() => mkdirSync(at('quota/sub/one-more'))),
      'EDQUOT',
    )
    await use(8 * PAGE, 8)
  })

  it('is the size that df shows of the mount below it', () => {
    volume.unmount()
    volume.mount([...OPTIONS, '--subdir', 'quota'])
    const stat = spawnSync('stat', ['-fc', '%b %S %c', volume.mountPoint], { encoding: 'utf8' }).stdout.split(' ')
    assert.equal(Number(stat[0]) * Number(stat[1]), 1 << 20)
    assert.equal(Number(stat[2]), 8)
  })
})

describe('quotas of users and groups', { skip: mountSkip }, () => {
  let volume: TestVolume
  before(() => {
    volume = newVolume({ format: ['--trash-days', '0'] })
    changeSetting(volume, { UserGroupQuota: true })
    withDatabase(volume, database =>
      database.exec('INSERT INTO jfs_user_group_quota VALUES (1, 54321, 1048576, 3, 0, 0), (2, 54322, 0, 2, 0, 0)'),
    )
    volume.mount(OPTIONS)
  })
  after(() => volume.remove())
  const as = (uid: number, gid: number, script: string): string =>
    spawnSync('setpriv', ['--reuid', `${uid}`, '--regid', `${gid}`, '--clear-groups', 'sh', '-c', script], {
      cwd: volume.mountPoint,
      encoding: 'utf8',
      env: { ...process.env, LC_ALL: 'C' },
    }).stderr

  it('are charged to the owner, refused by EDQUOT, and move with chown', async () => {
    assert.equal(as(54321, 54321, 'for i in 1 2 3; do echo x > u$i; done'), '')
    assert.match(as(54321, 54321, ': > u4'), /quota exceeded/)
    assert.match(as(54321, 54321, 'dd if=/dev/zero of=u1 bs=64k count=40 conv=fsync'), /quota exceeded/)
    assert.match(as(54329, 54322, ': > g1; : > g2; : > g3'), /cannot create g3: .*quota exceeded/)
    spawnSync('chown', ['54330', 'u2'], { cwd: volume.mountPoint })
    rmSync(join(volume.mountPoint, 'u1'))
    const used = (type: number, key: number): unknown =>
      withDatabase(volume, database => {
        const sql = 'SELECT used_space s, used_inodes i FROM jfs_user_group_quota WHERE qtype = ? AND qkey = ?'
        const row = database.prepare(sql).get(type, key)
        return row && [row.s, row.i]
      })
    for (let i = 0; i < 100 && JSON.stringify(used(1, 54321)) !== '[4096,1]'; i++) await sleep(50)
    assert.deepEqual(used(1, 54321), [4096, 1])
    assert.deepEqual(used(1, 54330), [4096, 1])
    assert.deepEqual(used(2, 54322), [8192, 2])
  })
})

describe('a volume that this client would harm', { skip: mountSkip }, () => {
  let volume: TestVolume
  let original: Record<string, unknown>
  before(() => {
    volume = newVolume()
    original = JSON.parse(settingOf(volume)) as Record<string, unknown>
  })
  after(() => volume.remove())
  const tiers = { '0': { ID: 0, StorageClass: '', Tag: '' }, '1': { ID: 1, StorageClass: 'IA', Tag: '' } }
  const cases: readonly [string, Record<string, unknown>, RegExp][] = [
    ['a log of changes', { ChangeLog: true }, /change ?log/i],
    ['Ranger', { RangerRestUrl: 'http://ranger', RangerService: 's' }, /ranger/i],
    ['Kerberos', { KerbConf: '[libdefaults]' }, /kerb/i],
    ['shards that name one bucket', { Shards: 4 }, /can not generate different endpoint/],
    ['a key of encryption that is none', { EncryptKey: 'a key' }, /the RSA key is no private key/],
    ['a key of encryption that was taken out', { EncryptKey: 'removed', KeyEncrypted: true }, /secret was removed/],
    ['encryption by sm4gcm', { EncryptKey: 'a key', EncryptAlgo: 'sm4gcm' }, /sm4gcm/],
    ['tiers', { Tiers: tiers }, /tier/i],
    ['a newer layout', { MetaVersion: 2 }, /version|upgrade/i],
    ['a newer oldest client', { MinClientVersion: '9.0.0' }, /9\.0\.0/],
    ['an older newest client', { MaxClientVersion: '1.0.0' }, /1\.0\.0/],
  ]
  for (const [what, changes, words] of cases) {
    it(`with ${what} is refused in these words, and stays as it is`, () => {
      changeSetting(volume, { ...original, ...changes })
      const before = settingOf(volume)
      const sessions = (): unknown =>
        withDatabase(volume, database => database.prepare('SELECT * FROM jfs_counter ORDER BY name').all())
      const counted = JSON.stringify(sessions())
      assert.throws(
        () => volume.mount(OPTIONS),
        (error: Error) => {
          assert.match(error.message.split('\n').find(line => line.includes('<FATAL>')) ?? '', words)
          return true
        },
      )
      assert.equal(settingOf(volume), before)
      assert.equal(JSON.stringify(sessions()), counted)
      withDatabase(volume, database =>
        database.prepare("UPDATE jfs_setting SET value = ? WHERE name = 'format'").run(JSON.stringify(original)),
      )
    })
  }

  it('shows no secret in logs, .config, status and the list of processes', () => {
    const secret = 'verysecret9'
    changeSetting(volume, { AccessKey: 'key', SecretKey: secret })
    volume.mount(OPTIONS)
    const pid = volume.pid()
    const shown = [
      readFileSync(join(volume.mountPoint, '.config'), 'utf8'),
      readFileSync(volume.logFile, 'utf8'),
      readFileSync(`/proc/${pid}/cmdline`, 'latin1'),
      cli(['status', volume.metaUrl]).stdout,
      cli(['config', volume.metaUrl]).stdout,
    ]
    volume.unmount()
    for (const text of shown) assert.ok(!text.includes(secret))
    const other = cli(['status', `mysql://root:${secret}@(localhost)/db`])
    assert.notEqual(other.status, 0)
    assert.ok(!`${other.stdout}${other.stderr}`.includes(secret))
  })
})
