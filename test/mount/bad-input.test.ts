/** Bad input gets one clear line and a non-zero exit, and changes nothing. */

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'

import Database from 'better-sqlite3'

import { cli, mountedVolume, mountSkip, newVolume, type Ran, run, type TestVolume } from './harness.ts'

function refused(ran: Ran, message: RegExp): void {
  assert.notEqual(ran.status, 0, `accepted: ${ran.stdout}${ran.stderr}`)
  const complaints = (ran.stderr + ran.stdout)
    .split('\n')
    .filter(line => /<(FATAL|ERROR)>|^ERROR|^juicefs-ts:/.test(line))
  assert.ok(
    complaints.some(line => message.test(line)),
    `expected one line like ${message}, got:\n${ran.stderr}${ran.stdout}`,
  )
  assert.doesNotMatch(ran.stderr, /^\s+at .*\.ts:\d+/m, 'no stack trace')
}

const fingerprint = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex')

describe('format', () => {
  let dir: string
  let url: string
  before(() => {
    dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-bad-'))
    url = `sqlite3://${join(dir, 'meta.db')}`
  })
  after(() => rmSync(dir, { recursive: true, force: true }))

  for (const [name, why] of [
    ['ab', 'too short'],
    ['Upper', 'upper case'],
    ['has_underscore', 'underscore'],
    ['x'.repeat(64), 'too long'],
  ] as const) {
    it(`refuses the volume name ${name.slice(0, 20)} (${why})`, () => {
      refused(cli(['format', '--bucket', join(dir, 'b'), url, name]), /invalid name/)
      assert.ok(!existsSync(join(dir, 'b')))
    })
  }

  it('refuses an unknown metadata driver', () =>
    refused(cli(['format', 'nosuch://x', 'myvol']), /Invalid meta driver: nosuch/))
  it('refuses an unknown storage', () =>
    refused(cli(['format', '--storage', 'foo', url, 'myvol']), /invalid storage: foo/))
  it('refuses an unknown compression', () =>
    refused(cli(['format', '--compress', 'gzip', url, 'myvol']), /Unsupported compress algorithm: "gzip"/))
  it('refuses a negative number of trash days', () =>
    refused(cli(['format', '--trash-days', '-1', url, 'myvol']), /trash days/i))
  it('refuses an option that does not exist', () =>
    refused(cli(['format', '--no-such-option', url, 'myvol']), /unknown option: "--no-such-option"/))
  it('refuses a missing argument', () => {
    const ran = cli(['format', url])
    assert.equal(ran.status, 1)
    assert.match(ran.stdout, /ERROR: This command requires at least 2 arguments/)
  })
  it('answers an unknown command with exit code 3', () => assert.equal(cli(['nope']).status, 3))

  it('refuses a bucket that holds something else', () => {
    mkdirSync(join(dir, 'full', 'myvol', 'chunks'), { recursive: true })
    writeFileSync(join(dir, 'full', 'myvol', 'chunks', 'x'), 'x')
    refused(
      cli(['format', '--bucket', join(dir, 'full'), `sqlite3://${join(dir, 'other.db')}`, 'myvol']),
      /is not empty/,
    )
    assert.deepEqual(readdirSync(join(dir, 'full', 'myvol')), ['chunks'])
  })

  it('refuses to rename a formatted volume, and changes nothing', () => {
    assert.equal(cli(['format', '--bucket', join(dir, 'bucket'), url, 'myvol']).status, 0)
    const before = cli(['config', url]).stdout
    refused(
      cli(['format', '--bucket', join(dir, 'bucket'), url, 'other']),
      /cannot update volume name from myvol to other/,
    )
    assert.equal(cli(['config', url]).stdout, before)
  })

  it('refuses a file that is not a SQLite database, and leaves it as it is', () => {
    const path = join(dir, 'text.db')
    writeFileSync(path, 'this is no database, just some text that is long enough to be looked at\n'.repeat(40))
    const before = fingerprint(path)
    refused(cli(['format', `sqlite3://${path}`, 'myvol']), /not a (SQLite )?database/i)
    assert.equal(fingerprint(path), before)
  })

  it('refuses a truncated database', () => {
    const path = join(dir, 'cut.db')
    assert.equal(cli(['format', '--bucket', join(dir, 'cut-bucket'), `sqlite3://${path}`, 'cutvol']).status, 0)
    truncateSync(path, 5000)
    refused(cli(['status', `sqlite3://${path}`]), /malformed|truncated|damaged|not a (SQLite )?database/i)
  })

  it('names the directory that is missing for a new database', () =>
    refused(
      cli(['format', `sqlite3://${join(dir, 'no', 'such', 'dir', 'm.db')}`, 'myvol']),
      /no such file or directory|does not exist|unable to open/,
    ))
})

describe('mount', { skip: mountSkip }, () => {
  let volume: TestVolume
  before(() => {
    volume = newVolume()
  })
  after(() => volume.remove())
  const mount = (...args: string[]) =>
    cli(['mount', '-d', '--no-syslog', '--log', volume.logFile, '--cache-dir', volume.cacheDir, ...args])

  it('refuses a database without a volume', () => {
    const path = join(volume.dir, 'empty.db')
    refused(mount(`sqlite3://${path}`, volume.mountPoint), /database is not formatted/)
  })
  it('refuses the root directory', () => refused(mount(volume.metaUrl, '/'), /should not mount on the root directory/))
  it('refuses a mount point that is a file', () => {
    const file = join(volume.dir, 'file')
    writeFileSync(file, 'x')
    refused(mount(volume.metaUrl, file), /not a directory/)
  })
  it('refuses an option that is not built yet by its name', () =>
    refused(mount('--backup-skip-trash', volume.metaUrl, volume.mountPoint), /--backup-skip-trash/))
  it('refuses a cache inside the mount', () =>
    refused(
      cli([
        'mount',
        '-d',
        '--no-syslog',
        '--log',
        volume.logFile,
        '--cache-dir',
        join(volume.mountPoint, 'cache'),
        volume.metaUrl,
        volume.mountPoint,
      ]),
      /inside/,
    ))
  it('refuses a database inside the mount', () =>
    refused(mount(`sqlite3://${join(volume.mountPoint, 'm.db')}`, volume.mountPoint), /inside|not formatted/))

  it('refuses to mount twice on one mount point', () => {
    volume.mount()
    try {
      refused(mount(volume.metaUrl, volume.mountPoint), /already/)
    } finally {
      volume.unmount()
    }
  })

  it('refuses an empty directory in place of the bucket, as where a disk is not mounted', () => {
    const away = `${volume.bucket}.away`
    renameSync(volume.bucket, away)
    try {
      refused(mount(volume.metaUrl, volume.mountPoint), /is empty: the bucket of this volume is not there/)
      mkdirSync(join(volume.bucket, 'test-volume'), { recursive: true })
      refused(mount(volume.metaUrl, volume.mountPoint), /is empty: the bucket of this volume is not there/)
      const anyway = cli(['mount', '-d', '--no-syslog', '--log', volume.logFile, volume.metaUrl, volume.mountPoint], {
        JFS_NO_CHECK_OBJECT_STORAGE: '1',
      })
      assert.equal(anyway.status, 0, anyway.stderr)
      volume.unmount()
    } finally {
      rmSync(volume.bucket, { recursive: true, force: true })
      renameSync(away, volume.bucket)
    }
  })
  it('refuses the bucket of another volume of the same name', () => {
    const other = newVolume()
    try {
      refused(
        mount('--bucket', other.bucket, volume.metaUrl, volume.mountPoint),
        /is the bucket of volume [0-9a-f-]{36}, not of [0-9a-f-]{36}/,
      )
    } finally {
      other.remove()
    }
  })
  it('only warns where the bucket has objects and does not say whose it is', () => {
    const mark = join(volume.bucket, 'test-volume', 'juicefs_uuid')
    const uuid = readFileSync(mark)
    rmSync(mark)
    writeFileSync(join(volume.bucket, 'test-volume', 'something'), 'x')
    volume.mount()
    volume.unmount()
    assert.match(readFileSync(volume.logFile, 'utf8'), /<WARNING>: .* has no object juicefs_uuid: whose bucket it is/)
    writeFileSync(mark, uuid)
  })

  it('refuses a corrupt setting', () => {
    const other = newVolume({ name: 'corrupt' })
    try {
      assert.equal(cli(['config', other.metaUrl]).status, 0)
      const path = other.metaUrl.slice('sqlite3://'.length)
      breakSetting(path)
      refused(
        cli([
          'mount',
          '-d',
          '--no-syslog',
          '--log',
          other.logFile,
          '--cache-dir',
          other.cacheDir,
          other.metaUrl,
          other.mountPoint,
        ]),
        /setting/i,
      )
    } finally {
      other.remove()
    }
  })

  it('umount refuses what is no mount of ours', () => {
    refused(cli(['umount', volume.mountPoint]), /not a JuiceFS mount point|not mounted|not found/i)
    refused(cli(['umount', join(volume.dir, 'nowhere')]), /no such file or directory/i)
  })
})

function breakSetting(path: string): void {
  const db = new Database(path)
  db.prepare("UPDATE jfs_setting SET value = '{\"Name\": broken' WHERE name = 'format'").run()
  db.close()
}

describe('a mount', { skip: mountSkip }, () => {
  let volume: TestVolume
  before(() => {
    volume = mountedVolume({ mount: ['--enable-xattr'] })
  })
  after(() => volume.remove())

  it('answers names of 256 bytes with ENAMETOOLONG', () =>
    assert.throws(() => writeFileSync(join(volume.mountPoint, 'n'.repeat(256)), ''), { code: 'ENAMETOOLONG' }))

  it('answers lengths past the limit with EFBIG', async () => {
    const path = join(volume.mountPoint, 'big')
    for (const length of ['9007199254740992', '144115188075855872', '9223372036854775807']) {
      const ran = await run('truncate', ['-s', length, path])
      assert.equal(ran.status, 1)
      assert.match(ran.stderr, /File too large/)
    }
    assert.equal((await run('truncate', ['-s', '9007199254740991', path])).status, 0)
  })

  it('answers EIO for garbage in the stored records, says so in the log, and lives on', () => {
    const [bad, good] = [join(volume.mountPoint, 'bad'), join(volume.mountPoint, 'good')]
    writeFileSync(bad, 'x'.repeat(10_000))
    writeFileSync(good, 'fine')
    const db = new Database(volume.metaUrl.slice('sqlite3://'.length))
    db.prepare(
      "UPDATE jfs_chunk SET slices = x'0102030405' WHERE inode = (SELECT inode FROM jfs_edge WHERE name = CAST('bad' AS BLOB))",
    ).run()
    db.close()
    volume.unmount()
    volume.mount(['--enable-xattr'])
    assert.throws(() => readFileSync(bad), { code: 'EIO' })
    assert.equal(readFileSync(good, 'utf8'), 'fine')
    assert.match(readFileSync(volume.logFile, 'utf8'), /<(ERROR|WARNING)>.*(damaged|corrupt)/)
  })
})
