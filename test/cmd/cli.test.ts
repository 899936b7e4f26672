/** The command line as a user meets it, without a mount: output, exit codes, what stands in the database afterwards. */

import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import Database from 'better-sqlite3'
import { decryptSecrets } from '../../src/meta/model/secrets.ts'
import { cli, launcher } from '../mount/harness.ts'

let dir: string
let url: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-cli-'))
  url = `sqlite3://${join(dir, 'meta.db')}`
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const format = (...extra: string[]) => cli(['format', '--bucket', join(dir, 'bucket'), ...extra, url, 'myvol'])
const setting = (): Record<string, unknown> => JSON.parse(cli(['-q', 'config', url]).stdout) as Record<string, unknown>
function stored(): string {
  const db = new Database(join(dir, 'meta.db'), { readonly: true })
  try {
    return (db.prepare("SELECT value FROM jfs_setting WHERE name = 'format'").get() as { value: string }).value
  } finally {
    db.close()
  }
}

describe('the program', () => {
  it('prints its version in the form that scripts parse, by command and by flag', () => {
    for (const arg of ['version', '--version', '-V']) {
      const ran = cli([arg])
      assert.match(ran.stdout, /^juicefs version \d+\.\d+\.\d+\+juicefs-ts\.\d+\.\d+\.\d+\n$/)
      assert.equal(ran.status, 0)
    }
  })
  it('shows help without a command, and of each command with its options', () => {
    assert.match(cli([]).stdout, /COMMANDS:/)
    const help = cli(['mount', '--help'])
    assert.equal(help.status, 0)
    for (const part of ['NAME:', 'USAGE:', 'CATEGORY:', 'OPTIONS:', '--cache-dir value', 'DATA CACHE']) {
      assert.ok(help.stdout.includes(part), part)
    }
    assert.equal(cli(['help', 'mount']).stdout, help.stdout)
    assert.equal(cli(['h', 'mount']).stdout, help.stdout)
    assert.equal(cli(['help']).stdout, cli([]).stdout)
    const unknown = cli(['help', 'nope'])
    assert.deepEqual([unknown.status, unknown.stderr], [3, "No help topic for 'nope'\n"])
  })
  it('tells an unknown command from one that is not built', () => {
    const unknown = cli(['nope'])
    assert.deepEqual([unknown.status, unknown.stderr], [3, "No help topic for 'nope'\n"])
    const notBuilt = cli(['gc', url])
    assert.equal(notBuilt.status, 1)
    assert.match(notBuilt.stderr, /<FATAL>: gc is not supported yet/)
  })
  it('fails when what was asked for cannot be written', () => {
    const ran = spawnSync('sh', ['-c', `${launcher} version > /dev/full`], { encoding: 'utf8' })
    assert.equal(ran.status, 1)
    assert.match(ran.stderr, /<FATAL>: standard output: .*no space left on device/)
  })
  it('counts arguments', () => {
    const few = cli(['mount', url])
    assert.equal(few.status, 1)
    assert.equal(
      few.stdout,
      'ERROR: This command requires at least 2 arguments\nUSAGE:\n   juicefs-ts mount [command options] META-URL MOUNTPOINT\n',
    )
    assert.match(cli(['status', 'a', 'b']).stdout, /accept at most 1 arguments but got \[a b\]/)
    assert.ok(!cli(['status', 'redis://:hidden@host/1', 'b']).stdout.includes('hidden'))
  })
  it('starts through a symbolic link, without HOME and without a place for compiled code', () => {
    const link = join(dir, 'link')
    assert.equal(spawnSync('ln', ['-s', launcher, link]).status, 0)
    const env = { PATH: process.env.PATH ?? '', XDG_CACHE_HOME: '/proc/nowhere' }
    assert.equal(spawnSync(link, ['version'], { env }).status, 0)
    assert.equal(spawnSync(link, ['version'], { env: { PATH: process.env.PATH ?? '' } }).status, 0)
  })
  it('logs with an id and by level', () => {
    format()
    assert.match(cli(['--log-id', 'seven', 'status', url]).stderr, /^\[seven\] \d{4}\//)
    assert.equal(cli(['status', url, '-q']).stderr, '')
    assert.equal(cli(['--log-level', 'error', 'status', url]).stderr, '')
  })
})

describe('format', () => {
  it('writes the setting as the reference does, and says so on standard error', () => {
    const ran = format()
    assert.deepEqual([ran.status, ran.stdout], [0, ''])
    assert.match(ran.stderr, /<INFO>: Volume is formatted as \{\n {2}"Name": "myvol",\n/)
    assert.match(
      stored(),
      /^\{\n"Name": "myvol",\n"UUID": "[0-9a-f-]{36}",\n"Storage": "file",\n"Tiers": \{\n"0": \{\n/,
    )
    const { UUID, Bucket, ...rest } = setting()
    assert.equal(readFileSync(join(dir, 'bucket/myvol/juicefs_uuid'), 'latin1'), UUID)
    assert.equal(Bucket, `${join(dir, 'bucket')}/`)
    assert.deepEqual(rest, {
      Name: 'myvol',
      Storage: 'file',
      Tiers: { 0: { ID: 0, StorageClass: '', Tag: '' } },
      BlockSize: 4096,
      Compression: 'none',
      EncryptAlgo: 'aes256gcm-rsa',
      TrashDays: 1,
      MetaVersion: 1,
      MinClientVersion: '1.1.0-A',
      DirStats: true,
      EnableACL: false,
    })
  })
  it('rounds the block size down to a power of two, within its limits', () => {
    for (const [size, kiB, warning] of [
      ['5M', 4096, ''],
      ['100', 64, ''],
      ['1K', 64, 'block size is too small: 1.0 KiB, use 64 KiB instead'],
      ['1G', 16384, 'block size is too large: 1.0 GiB, use 16 MiB instead'],
    ] as const) {
      const ran = cli([
        'format',
        '--bucket',
        join(dir, `b${size}`),
        '--block-size',
        size,
        `sqlite3://${join(dir, `${size}.db`)}`,
        'myvol',
      ])
      assert.ok(ran.stderr.includes(`"BlockSize": ${kiB},`), ran.stderr)
      assert.ok(ran.stderr.includes(warning), ran.stderr)
    }
  })
  it('raises the oldest client where ACLs are on', () => {
    format('--enable-acl')
    assert.deepEqual([setting().EnableACL, setting().MinClientVersion], [true, '1.2.0-A'])
  })
  it('takes credentials from the environment, stores the secret one encrypted, and never shows it', () => {
    const ran = cli(['format', '--bucket', join(dir, 'bucket'), url, 'myvol'], {
      ACCESS_KEY: 'me',
      SECRET_KEY: 'hunter2',
    })
    assert.equal(ran.status, 0)
    assert.ok(!(ran.stderr + stored()).includes('hunter2'))
    assert.deepEqual([setting().AccessKey, setting().SecretKey, setting().KeyEncrypted], ['me', 'removed', true])
  })
  it('run again changes what is given, and nothing else', () => {
    format('--capacity', '1')
    const uuid = setting().UUID
    assert.equal(format('--inodes', '100').status, 0)
    assert.deepEqual([setting().UUID, setting().Capacity, setting().Inodes], [uuid, 2 ** 30, 100])
    assert.equal(format('--no-update', '--inodes', '7').status, 0)
    assert.equal(setting().Inodes, 100)
  })
  it('run again never changes how data is laid out', () => {
    format()
    const before = stored()
    for (const [flags, what] of [
      [['--block-size', '1M'], /cannot update block size from 4096 to 1024/],
      [['--compress', 'lz4'], /cannot update compression from none to lz4/],
      [['--hash-prefix'], /cannot update hash prefix from undefined to true/],
    ] as const) {
      const ran = format(...flags)
      assert.equal(ran.status, 1)
      assert.match(ran.stderr, what)
    }
    assert.equal(stored(), before)
  })
  it('that comes second leaves the bucket to the volume that was made meanwhile', async () => {
    const db = new Database(join(dir, 'meta.db'))
    db.exec('PRAGMA journal_mode = WAL; CREATE TABLE other (x); BEGIN IMMEDIATE')
    const second = spawn(launcher, ['format', '--bucket', join(dir, 'bucket'), url, 'myvol'])
    const uuid = join(dir, 'bucket', 'myvol', 'juicefs_uuid')
    for (const end = Date.now() + 20_000; !existsSync(uuid) && Date.now() < end; ) await sleep(20)
    const first = {
      Name: 'myvol',
      UUID: randomUUID(),
      Storage: 'file',
      Bucket: `${join(dir, 'bucket')}/`,
      BlockSize: 4096,
    }
    db.exec('CREATE TABLE jfs_setting (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL)')
    db.prepare('INSERT INTO jfs_setting VALUES (?, ?)').run('format', JSON.stringify(first))
    db.exec('COMMIT')
    db.close()
    const [code] = (await once(second, 'close')) as [number]
    assert.equal(code, 1)
    assert.equal(readFileSync(uuid, 'latin1'), first.UUID)
  })
  it('that fails leaves no database behind', () => {
    writeFileSync(join(dir, 'bucket'), 'a file, not a directory')
    const ran = cli(['format', '--bucket', join(dir, 'bucket'), url, 'myvol'], { JFS_NO_CHECK_OBJECT_STORAGE: '1' })
    assert.equal(ran.status, 1)
    assert.deepEqual(readdirSync(dir), ['bucket'])
    mkdirSync(join(dir, 'b/myvol'), { recursive: true })
    writeFileSync(join(dir, 'b/myvol/something'), 'x')
    assert.equal(cli(['format', '--bucket', join(dir, 'b'), url, 'myvol']).status, 1)
    assert.deepEqual(readdirSync(join(dir, 'b/myvol')), ['something'])
    assert.ok(!existsSync(join(dir, 'meta.db')))
  })
})

describe('config', () => {
  it('prints a line a change, in the order of the options, and the raised version last', () => {
    format()
    const ran = cli([
      'config', '--trash-days', '2', '--capacity', '1', '--inodes', '10000', '--upload-limit', '100', '--secret-key', 'x',
      '--enable-acl', '--dir-stats=false', url,
    ]) // biome-ignore format: one command line
    assert.equal(
      ran.stdout,
      `  capacity: 0 B -> 1.0 GiB
 dir-stats: true -> false
enable-acl: false -> true
    inodes: 0 -> 10,000
secret-key: updated
trash-days: 1 -> 2
upload-limit: 0.0 Mbps -> 100.0 Mbps
min-client-version: 1.1.0-A -> 1.2.0-A
`,
    )
    assert.equal(ran.status, 0)
    assert.deepEqual([setting().Capacity, setting().TrashDays, setting().UploadLimit], [2 ** 30, 2, 100])
  })
  it('says when nothing changes', () => {
    format()
    const before = stored()
    assert.equal(cli(['config', '--trash-days', '1', url]).stdout, 'Nothing changed.\n')
    assert.equal(stored(), before)
  })
  it('asks before it empties the trash, and takes no answer for no', () => {
    format()
    const ask = (input: string) =>
      spawnSync(launcher, ['config', '--trash-days', '0', url], { input, encoding: 'utf8' })
    const refused = ask('')
    assert.equal(refused.status, 1)
    assert.match(refused.stdout, /WARNING.*: The current trash will be emptied.*\nProceed anyway\? \[y\/N\]: $/)
    assert.match(refused.stderr, /<FATAL>: Aborted\./)
    assert.equal(setting().TrashDays, 1)
    const accepted = ask('what\nyes\n')
    assert.match(accepted.stdout, /Please input y\(yes\) or n\(no\): trash-days: 1 -> 0\n$/)
    assert.equal(setting().TrashDays, 0)
  })
  it('does not undo what somebody else has changed while it asked', async () => {
    format()
    const asking = spawn(launcher, ['config', '--trash-days', '0', url], { stdio: ['pipe', 'pipe', 'pipe'] })
    await once(asking.stdout, 'data')
    assert.equal(cli(['config', '--capacity', '5', url]).status, 0)
    asking.stdin.end('y\n')
    const said: Buffer[] = []
    asking.stderr.on('data', (piece: Buffer) => said.push(piece))
    const [code] = (await once(asking, 'close')) as [number]
    assert.equal(code, 1)
    assert.match(Buffer.concat(said).toString(), /changed meanwhile/)
    assert.deepEqual([setting().Capacity, setting().TrashDays], [5 * 2 ** 30, 1])
  })
  it('refuses what cannot be undone or read', () => {
    format('--enable-acl')
    for (const [flags, why] of [
      [['--enable-acl=false'], /cannot disable acl/],
      [['--min-client-version', '1.0.0'], /cannot lower min-client-version from 1\.2\.0-A to 1\.0\.0/],
      [['--max-client-version', 'abc'], /Invalid version string: abc/],
      [['--trash-days', '-1'], /Invalid trash days: -1/],
      [['--changelog'], /--changelog is not supported yet/],
      [['--tier', '1', '--storage-class', 'IA'], /is not supported yet/],
    ] as const) {
      const ran = cli(['config', ...flags, url])
      assert.equal(ran.status, 1, flags.join(' '))
      assert.match(ran.stderr, why)
    }
  })
  it('tests a new bucket before it is stored', () => {
    format()
    writeFileSync(join(dir, 'file'), '')
    const ran = cli(['config', '--bucket', join(dir, 'file'), url])
    assert.equal(ran.status, 1)
    assert.match(ran.stderr, /Storage file:.* is not configured correctly/)
    assert.equal(setting().Bucket, `${join(dir, 'bucket')}/`)
  })
  it('takes a secret again that a dump has left out, and leaves it out until then', () => {
    format('--secret-key', 'first')
    const db = new Database(join(dir, 'meta.db'))
    const { SecretKey } = JSON.parse(stored()) as { SecretKey: string }
    db.prepare('UPDATE jfs_setting SET value = replace(value, ?, ?)').run(SecretKey, 'removed')
    db.close()
    const other = cli(['config', '--capacity', '1', url])
    assert.equal(other.status, 0, other.stderr)
    assert.deepEqual([JSON.parse(stored()).SecretKey, JSON.parse(stored()).KeyEncrypted], ['removed', true])
    const again = cli(['config', '--secret-key', 'second', url])
    assert.equal(again.status, 0, again.stderr)
    assert.match(again.stdout, /secret-key: updated/)
    assert.equal(decryptSecrets(JSON.parse(stored())).SecretKey, 'second')
  })
  it('keeps settings that only newer clients know', () => {
    format()
    const db = new Database(join(dir, 'meta.db'))
    db.prepare('UPDATE jfs_setting SET value = replace(value, \'"Storage"\', \'"Novelty": 7,\n"Storage"\')').run()
    db.close()
    assert.equal(cli(['config', '--trash-days', '3', url]).status, 0)
    assert.deepEqual([setting().Novelty, setting().TrashDays], [7, 3])
  })
})

describe('status', () => {
  it('of a new volume is the document of the reference', () => {
    format()
    const { Setting, ...rest } = JSON.parse(cli(['status', url]).stdout) as Record<string, Record<string, unknown>>
    assert.equal(Setting?.Name, 'myvol')
    assert.deepEqual(rest, {
      Sessions: [],
      Stat: { UsedSpace: 0, AvailableSpace: 2 ** 50, UsedInodes: 0, AvailableInodes: 10 * 2 ** 20 },
    })
  })
  it('is shown although the record of a session cannot be read, and such a client counts as one of an unknown version', () => {
    format()
    const db = new Database(join(dir, 'meta.db'))
    const insert = db.prepare('INSERT INTO jfs_session2 (sid, expire, info) VALUES (?, ?, ?)')
    insert.run(7, 9_000_000_000_000_000, Buffer.from('{"Version":'))
    insert.run(8, 4_000_000_000, null)
    db.close()
    const shown = cli(['-q', 'status', url])
    assert.equal(shown.status, 0, shown.stderr)
    const { Sessions } = JSON.parse(shown.stdout) as { Sessions: { Sid: number }[] }
    assert.deepEqual(
      Sessions.map(({ Sid }) => Sid),
      [7, 8],
    )
    const raised = cli(['config', '--yes', '--min-client-version', '1.3.0', url])
    assert.equal(raised.status, 0, raised.stderr)
    assert.match(raised.stdout, /is not a version/)
  })
  it('of a session that is not there fails', () => {
    format()
    const ran = cli(['status', '-s', '99', url])
    assert.deepEqual([ran.status, ran.stdout], [1, ''])
    assert.match(ran.stderr, /get session: session not found: 99/)
  })
  it('creates no database where there is none', () => {
    const ran = cli(['status', url])
    assert.equal(ran.status, 1)
    assert.match(ran.stderr, /database is not formatted/)
    assert.deepEqual(readdirSync(dir), [])
  })
})

describe('bench', () => {
  const skipCaches = { SKIP_DROP_CACHES: 'true' }
  let ran: ReturnType<typeof cli>
  let bench: string
  before(() => {
    bench = mkdtempSync(join(tmpdir(), 'juicefs-ts-bench-'))
    const sizes = ['--block-size', '64K', '--big-file-size', '1M', '--small-file-count', '5', '-p', '2']
    ran = cli(['bench', ...sizes, bench], skipCaches)
  })
  after(() => rmSync(bench, { recursive: true, force: true }))

  it('measures a plain directory and leaves nothing behind', () => {
    assert.equal(ran.status, 0, ran.stderr)
    assert.match(
      ran.stdout,
      /^Benchmark finished!\nBlockSize: 64 KiB, BigFileSize: 1\.0 MiB, SmallFileSize: 128 KiB, SmallFileCount: 5, NumThreads: 2\n\+/,
    )
    assert.equal(ran.stdout.match(/^\|/gm)?.length, 6)
    assert.deepEqual(readdirSync(bench), [])
  })
  it('counts in each bar from nothing to all', { skip: !existsSync('/usr/bin/script') && 'no script(1)' }, () => {
    const bench = `${launcher} bench ${dir} --big-file-size 4 --small-file-count 2`
    const ran = spawnSync('script', ['-qec', bench, '/dev/null'], {
      encoding: 'utf8',
      env: { ...process.env, SKIP_DROP_CACHES: 'true' },
    })
    const counts = [...ran.stdout.matchAll(/blocks: (\d+)\/(\d+) \[/g)].map(([, done, all]) => [
      Number(done),
      Number(all),
    ])
    assert.ok(counts.length >= 8, ran.stdout)
    assert.deepEqual(
      counts.filter(([done = 0, all = 0]) => done > all),
      [],
    )
  })
  it('says each time that the caches were left alone', () => {
    assert.equal(ran.stderr.match(/Clear cache operation has been skipped/g)?.length, 4)
  })
  it('refuses to do nothing', () => {
    for (const flags of [
      ['--block-size', '0'],
      ['-p', '0'],
      ['--big-file-size', '0', '--small-file-count', '0'],
    ]) {
      const refused = cli(['bench', ...flags, bench], skipCaches)
      assert.equal(refused.status, 1)
      assert.match(refused.stderr, /invalid argument/)
    }
  })
  it('fails in a directory that cannot be written', () => {
    assert.equal(cli(['bench', '--big-file-size', '1M', '/proc/nowhere'], skipCaches).status, 1)
  })
})
