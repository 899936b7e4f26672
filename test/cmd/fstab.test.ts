import assert from 'node:assert/strict'
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { openLog } from '../../src/base/log.ts'
import { MOUNT_FLAGS } from '../../src/cmd/flag-tables.ts'
import { Options, parseArgv } from '../../src/cmd/flags.ts'
import { type FstabPlaces, fstabLine, fstabOptions, keepInFstab } from '../../src/cmd/fstab.ts'
import { helperArguments } from '../../src/cmd/mount-helper.ts'

const options = (...argv: string[]): Options =>
  new Options(MOUNT_FLAGS, parseArgv(['mount', ...argv, 'redis://h/1', '/mnt'], [], () => MOUNT_FLAGS).given)

describe('an entry of fstab', () => {
  it('has the options as typed, sorted, flags that are on bare, places absolute, those of FUSE at the end', () => {
    const typed = [
      '--writeback=false',
      '--read-only',
      '--cache-size',
      '10G',
      '-d',
      '--update-fstab',
      '-o',
      'allow_other,noexec',
    ]
    assert.deepEqual(fstabOptions(options(...typed, '--cache-dir', 'a:/b', '--log=l')), [
      '_netdev',
      'nofail',
      `cache-dir=${join(process.cwd(), 'a')}:/b`,
      'cache-size=10G',
      `log=${join(process.cwd(), 'l')}`,
      'read-only',
      'writeback=false',
      'allow_other',
      'noexec',
    ])
    assert.deepEqual(fstabOptions(options()), ['_netdev', 'nofail'])
  })

  it('is one line of six fields, blanks in them as octal', () => {
    const line = fstabLine({ metaUrl: 'sqlite3:///a b#.db', mountPoint: '/m\t\\n', options: ['_netdev', 'x="1,2"'] })
    assert.equal(line, 'sqlite3:///a\\040b\\043.db  /m\\011\\134n  juicefs  _netdev,x="1,2"  0 0')
    assert.equal(line.split(/\s+/).length, 6)
  })

  it('comes back from mount(8) as the command line it was made of', () => {
    const typed = [
      '--cache-dir',
      '/a,/b',
      '--attr-cache',
      '2',
      '--enable-xattr',
      '--verify-cache-checksum=full',
      '-o',
      'allow_other',
    ]
    const list = fstabOptions(options(...typed)).join(',')
    assert.deepEqual(helperArguments(['redis://h/1', '/mnt', '-o', `rw,${list}`])?.argv, [
      'mount',
      '-d',
      '--skip-mounted',
      '--attr-cache=2',
      '--cache-dir=/a,/b',
      '--enable-xattr',
      '--verify-cache-checksum=full',
      '-o',
      'allow_other',
      'redis://h/1',
      '/mnt',
    ])
  })
})

describe('the arguments of mount(8)', () => {
  const argvOf = (list: string): string[] | undefined => helperArguments(['u', '/m', '-o', list])?.argv
  const flagsOf = (list: string) =>
    argvOf(list)?.filter(flag => !['mount', '-d', '--skip-mounted', 'u', '/m'].includes(flag))

  it('leave alone what is mounted already, unless a remount is asked for', () => {
    assert.deepEqual(argvOf('rw'), ['mount', '-d', '--skip-mounted', 'u', '/m'])
    assert.deepEqual(argvOf('rw,remount'), ['mount', '-d', 'u', '/m'])
  })

  it('that are about the boot or mount(8) itself are dropped', () => {
    const list = '_netdev,nofail,rw,defaults,remount,background,noauto,user,x-systemd.automount,X-mount.mkdir'
    assert.deepEqual(flagsOf(list), [])
  })
  it('are translated where they had other names, and ro goes to FUSE', () => {
    assert.deepEqual(flagsOf('attrcacheto=1,entrycacheto=2,direntrycacheto=3,ro'), [
      '--attr-cache=1',
      '--entry-cache=2',
      '--dir-entry-cache=3',
      '-o',
      'ro',
    ])
    assert.deepEqual(flagsOf('debug'), ['--verbose', '-o', 'debug'])
  })
  it('must have the values that they need', () => {
    assert.throws(() => flagsOf('cache-size'), /option cache-size requires a value/)
  })
  it('may come with the switches of mount(8)', () => {
    const asked = helperArguments(['u', '/m', '-sn', '-f', '-N', 'ns', '-t', 'fuse.juicefs', '-o', 'cache-size=1G'])
    assert.deepEqual(asked, { argv: ['mount', '-d', '--skip-mounted', '--cache-size=1G', 'u', '/m'], isFake: true })
    assert.equal(helperArguments(['u']), null)
  })
})

describe('--update-fstab', { skip: process.getuid?.() === 0 ? false : 'needs root' }, () => {
  let dir: string
  let places: FstabPlaces
  let lines: string[]
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-fstab-'))
    places = {
      fstab: join(dir, 'fstab'),
      helper: join(dir, 'mount.juicefs'),
      launcher: join(dir, 'juicefs-ts'),
      containerMarks: [],
    }
    writeFileSync(places.launcher, '')
    lines = []
  })
  afterEach(() => rmSync(dir, { recursive: true, force: true }))

  const keep = (mountPoint = '/mnt', ...extra: string[]): void => {
    const log = openLog({ level: 'INFO', colour: false, id: '', write: line => void lines.push(line) })
    keepInFstab({ metaUrl: 'redis://h/1', mountPoint, options: ['_netdev', 'nofail', ...extra] }, log, places)
  }
  const table = (): string => readFileSync(places.fstab, 'utf8')
  const entry = 'redis://h/1  /mnt  juicefs  _netdev,nofail  0 0\n'

  it('adds the entry once, replaces it when it changes, and leaves every other line as it is', () => {
    const others = '# a comment\n\nUUID=1 / ext4 defaults 0 1'
    writeFileSync(places.fstab, others)
    chmodSync(places.fstab, 0o640)
    keep()
    assert.equal(table(), `${others}\n${entry}`)
    keep('/mnt', 'read-only')
    assert.equal(table(), `${others}\n${entry.replace('nofail', 'nofail,read-only')}`)
    keep('/other')
    assert.equal(
      table()
        .split('\n')
        .filter(line => line.startsWith('redis:')).length,
      2,
    )
    assert.equal(statSync(places.fstab).mode & 0o777, 0o640)
    assert.deepEqual(readdirSync(dir).sort(), ['fstab', 'juicefs-ts', 'mount.juicefs'], 'nothing is left beside it')
    assert.match(lines[0]!, /<INFO>: Successfully updated fstab, now you can mount with `mount "\/mnt"` /)
  })

  it('makes the table where there is none, and the link that mount(8) follows', () => {
    keep()
    assert.equal(table(), entry)
    assert.equal(readlinkSync(places.helper), places.launcher)
    assert.equal(lines.length, 1)
    keep()
    assert.equal(lines.length, 2, 'a link that is right is no warning')
  })

  it('leaves another helper in its place and says so', () => {
    symlinkSync('/usr/bin/true', places.helper)
    keep()
    assert.equal(readlinkSync(places.helper), '/usr/bin/true')
    assert.match(lines[0]!, /<WARNING>: .*mount\.juicefs is .*true: that is what will mount the entry/)
  })

  it('is for hosts, not for containers', () => {
    places = { ...places, containerMarks: [join(dir, 'absent'), places.launcher] }
    keep()
    assert.ok(!existsSync(places.fstab))
    assert.match(lines[0]!, /<WARNING>: --update-fstab is ignored inside a container/)
  })

  it('writes through a symbolic link, and only warns where it cannot', () => {
    writeFileSync(join(dir, 'real'), '')
    symlinkSync('real', places.fstab)
    keep()
    assert.equal(readFileSync(join(dir, 'real'), 'utf8'), entry)
    assert.equal(readlinkSync(places.fstab), 'real')
    places = { ...places, fstab: join(dir, 'missing', 'fstab') }
    lines = []
    keep()
    assert.match(lines[0]!, /<WARNING>: failed to update .*missing\/fstab: .*no such file/)
    assert.ok(!existsSync(join(dir, 'missing')))
  })
})
