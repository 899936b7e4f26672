/** What each option of `mount` changes for the programs that use the mount. */

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { after, afterEach, before, describe, it } from 'node:test'
import { cli, launcher, mountSkip, newVolume, type TestVolume } from './harness.ts'

const has = (program: string): boolean => spawnSync('sh', ['-c', `command -v ${program}`]).status === 0

/** What a shell says when somebody else runs a script: standard output, then standard error. */
function as(who: { uid: number; groups?: readonly number[] }, script: string, cwd: string): string {
  const groups = who.groups?.length ? ['--groups', who.groups.join(',')] : ['--clear-groups']
  const args = ['--reuid', `${who.uid}`, '--regid', `${who.uid}`, ...groups, 'sh', '-c', script]
  const ran = spawnSync('setpriv', args, { cwd, encoding: 'utf8', env: { ...process.env, LC_ALL: 'C' } })
  return `${ran.stdout}${ran.stderr}`
}
const shell = (script: string, cwd: string, inside: readonly string[] = []): string => {
  const [program = '', ...args] = [...inside, 'sh', '-c', script]
  const ran = spawnSync(program, args, { cwd, encoding: 'utf8', env: { ...process.env, LC_ALL: 'C' } })
  return `${ran.stdout}${ran.stderr}`
}
const python = (script: string, cwd: string): string =>
  spawnSync('python3', ['-c', script], { cwd, encoding: 'utf8' }).stdout.trim()
const STRANGER = { uid: 54321 }
const NOBODY = { uid: 65534 }

describe('the mount option', { skip: mountSkip }, () => {
  let volume: TestVolume
  let root: string
  before(() => {
    volume = newVolume({ format: ['--trash-days', '0'] })
    root = volume.mountPoint
  })
  afterEach(() => void (mountLine() && volume.unmount()))
  after(() => volume.remove())
  const mount = (...extra: string[]): void => volume.mount(['--backup-meta', '0', ...extra])
  const mountLine = (): string | undefined =>
    readFileSync('/proc/mounts', 'utf8')
      .split('\n')
      .find(line => line.includes(` ${root} `))
  const log = (): string => readFileSync(volume.logFile, 'utf8')

  for (const option of [['--read-only'], ['-o', 'ro']]) {
    it(`${option.join(' ')} answers EROFS to every change, quietly`, () => {
      mount()
      writeFileSync(join(root, 'kept'), 'kept')
      mkdirSync(join(root, 'dir'), { recursive: true })
      volume.unmount()
      mount(...option)
      const changes = {
        create: 'open("new","w")',
        write: 'open("kept","r+")',
        mkdir: 'os.mkdir("d2")',
        mknod: 'os.mkfifo("fifo")',
        symlink: 'os.symlink("a","sl")',
        link: 'os.link("kept","l2")',
        unlink: 'os.unlink("kept")',
        rmdir: 'os.rmdir("dir")',
        rename: 'os.rename("kept","other")',
        chmod: 'os.chmod("kept",0o600)',
        chown: 'os.chown("kept",1,1)',
        utimes: 'os.utime("kept")',
        truncate: 'os.truncate("kept",1)',
      }
      const logBefore = log().length
      for (const [name, code] of Object.entries(changes)) {
        const said = python(`import os\ntry: ${code}; print("done")\nexcept OSError as e: print(e.errno)`, root)
        assert.equal(said, '30', name)
      }
      assert.equal(readFileSync(join(root, 'kept'), 'utf8'), 'kept')
      assert.doesNotMatch(log().slice(logBefore), /ERROR|WARNING/)
      const status = JSON.parse(cli(['status', volume.metaUrl]).stdout) as { Sessions: unknown[] }
      assert.deepEqual(status.Sessions, [])
    })
  }

  it('--subdir makes the directory, hides the trash and lets the tools work in it', () => {
    mount('--subdir', 'deep/er')
    assert.equal(statSync(root).ino, 1)
    assert.deepEqual(readdirSync(root), ['.accesslog', '.config', '.stats'])
    assert.equal(existsSync(join(root, '.trash')), false)
    writeFileSync(join(root, 'inside'), 'x')
    assert.equal(cli(['info', join(root, 'inside')]).status, 0)
    volume.unmount()
    mount()
    assert.equal(readFileSync(join(root, 'deep/er/inside'), 'utf8'), 'x')
    assert.equal(statSync(join(root, 'deep')).mode & 0o7777, 0o777)
  })

  it('--read-only with a --subdir that is missing is refused', () =>
    assert.throws(() => mount('--read-only', '--subdir', 'nowhere'), /read-only file system|nowhere/i))

  it('--hide-internal hides the internal files from listings only', () => {
    mount('--hide-internal')
    assert.deepEqual(
      readdirSync(root).filter(name => name.startsWith('.')),
      [],
    )
    assert.match(readFileSync(join(root, '.stats'), 'latin1'), /^juicefs_uptime /m)
  })

  it('--prefix-internal renames the internal files, and the tools find them', () => {
    mount('--prefix-internal')
    const internal = readdirSync(root).filter(name => name.startsWith('.'))
    assert.deepEqual(internal, ['.jfs.accesslog', '.jfs.config', '.jfs.stats', '.jfs.trash'])
    assert.equal(existsSync(join(root, '.config')), false)
    writeFileSync(join(root, '.stats'), 'now an ordinary name')
    assert.equal(readFileSync(join(root, '.stats'), 'utf8'), 'now an ordinary name')
    assert.match(cli(['info', join(root, '.stats')]).stdout, /files: 1/)
  })

  it('--umask replaces the umask of the caller', () => {
    mount('--umask', '027')
    shell('umask 0; : > masked; mkdir masked-dir', root)
    assert.equal(statSync(join(root, 'masked')).mode & 0o777, 0o640)
    assert.equal(statSync(join(root, 'masked-dir')).mode & 0o777, 0o750)
  })

  it('--root-squash makes root somebody else, and nobody else', { skip: !has('setpriv') && 'no setpriv' }, () => {
    mount('--root-squash', '1234:1235')
    shell(': > squashed', root)
    assert.deepEqual([statSync(join(root, 'squashed')).uid, statSync(join(root, 'squashed')).gid], [1234, 1235])
    as(STRANGER, ': > own', root)
    assert.equal(statSync(join(root, 'own')).uid, STRANGER.uid)
    assert.match(shell('chown 0 own', root), /Operation not permitted/)
  })

  it('--all-squash makes everybody one user', { skip: !has('setpriv') && 'no setpriv' }, () => {
    mount('--all-squash', '1234:1235')
    as(STRANGER, ': > everybody', root)
    assert.deepEqual([statSync(join(root, 'everybody')).uid, statSync(join(root, 'everybody')).gid], [1234, 1235])
    assert.doesNotMatch(mountLine()!, /default_permissions/)
  })

  it('--non-default-permission checks as the kernel would', { skip: !has('setpriv') && 'no setpriv' }, () => {
    mount('--non-default-permission')
    assert.doesNotMatch(mountLine()!, /default_permissions/)
    chmodSync(root, 0o755)
    mkdirSync(join(root, 'private'), { mode: 0o700 })
    mkdirSync(join(root, 'sticky'))
    chmodSync(join(root, 'sticky'), 0o1777)
    writeFileSync(join(root, 'sticky/of-root'), '')
    writeFileSync(join(root, 'for-group'), 'secret')
    chmodSync(join(root, 'for-group'), 0o640)
    chownSync(join(root, 'for-group'), 0, 777)
    assert.match(as(STRANGER, 'ls private', root), /Permission denied/)
    assert.match(as(STRANGER, ': > new', root), /Permission denied/)
    assert.match(as(STRANGER, 'rmdir private', root), /Permission denied/)
    assert.match(as(STRANGER, 'mv private public', root), /Permission denied/)
    assert.match(as(STRANGER, 'chmod 777 private', root), /not permitted/)
    assert.match(as(STRANGER, 'rm -f sticky/of-root', root), /Permission denied|not permitted/)
    assert.match(as(STRANGER, 'cat for-group', root), /Permission denied/)
    assert.equal(as({ uid: 54322, groups: [5, 777] }, 'cat for-group', root), 'secret')
    chmodSync(root, 0o777)
  })

  it('--enable-xattr is off by default', () => {
    mount()
    writeFileSync(join(root, 'x'), '')
    const set =
      'import os\ntry: os.setxattr("x","user.a",b"1"); print(os.getxattr("x","user.a"))\nexcept OSError as e: print(e.errno)'
    assert.equal(python(set, root), '95')
    volume.unmount()
    mount('--enable-xattr')
    assert.equal(python(set, root), "b'1'")
  })

  it('--atime-mode moves the access time, or leaves it', () => {
    const readTwice = (name: string): readonly boolean[] => {
      const path = join(root, name)
      const atime = (): number => statSync(path).atimeMs
      shell(`echo hi > ${name}; touch -a -d '2020-01-01' ${name}`, root)
      const moved: boolean[] = []
      for (let i = 0; i < 2; i++) {
        shell('sleep 1.1', root)
        const before = atime()
        shell(`cat ${name}; sleep 1.1`, root)
        moved.push(atime() > before)
      }
      return moved
    }
    mount('--atime-mode', 'strictatime', '--attr-cache', '0')
    assert.deepEqual(readTwice('strict'), [true, true])
    volume.unmount()
    mount('--atime-mode', 'relatime', '--attr-cache', '0')
    assert.deepEqual(readTwice('rel'), [true, false])
  })

  it('--skip-dir-mtime 0 moves the time of a directory with each change', () => {
    mount('--skip-dir-mtime', '0', '--attr-cache', '0')
    const times = [1, 2, 3].map(i => {
      writeFileSync(join(root, `d${i}`), '')
      return statSync(root, { bigint: true }).mtimeNs
    })
    assert.equal(new Set(times).size, 3)
  })

  it('--negative-entry-cache hides for a while what another client creates, without it nothing is hidden', () => {
    mount('--negative-entry-cache', '60', '--readdir-cache')
    assert.equal(existsSync(join(root, 'late')), false)
    const requests = (): number =>
      Number(/^juicefs_fuse_ops_total_lookup (\d+)/m.exec(readFileSync(join(root, '.stats'), 'latin1'))?.[1] ?? 0)
    const before = requests()
    for (let i = 0; i < 50; i++) existsSync(join(root, 'late'))
    assert.ok(requests() - before < 10, 'the kernel answers itself')
    writeFileSync(join(root, 'late'), '')
    assert.equal(existsSync(join(root, 'late')), true)
  })

  it('--open-cache shows at once what this mount wrote', () => {
    mount('--open-cache', '60s')
    const file = join(root, 'kept')
    writeFileSync(file, 'first')
    assert.equal(readFileSync(file, 'latin1'), 'first')
    appendFileSync(file, ', second')
    assert.equal(readFileSync(file, 'latin1'), 'first, second')
    const { Meta } = JSON.parse(readFileSync(join(root, '.config'), 'utf8')) as { Meta: { OpenCache: number } }
    assert.equal(Meta.OpenCache, 60e9)
  })

  it('-o passes the flags of mount(2) on: nothing below a noexec mount is executed', () => {
    mount('-o', 'noexec,noatime,sync')
    for (const flag of ['noexec', 'noatime', 'sync', 'nosuid', 'nodev'])
      assert.match(mountLine()!, new RegExp(`\\b${flag}\\b`))
    writeFileSync(join(root, 'script'), '#!/bin/sh\necho ran\n', { mode: 0o755 })
    assert.match(shell('./script', root), /Permission denied/)
  })

  it('-o of what the kernel does not know is refused', () =>
    assert.throws(
      () => mount('-o', 'nonsense=1'),
      /invalid argument \(is one of these no option of FUSE: nonsense=1\?\)/,
    ))

  const sizes = [
    ['--cache-dir', 'memory', '--buffer-size', '32M', '--max-fuse-io', '128K'],
    ['--cache-size', '0', '--buffer-size', '32M', '-o', 'writeback_cache,async_dio,max_read=65536'],
    ['-o', 'direct_io,allow_other', '--no-bgjob', '--attr-cache', '0', '--entry-cache', '0', '--dir-entry-cache', '0'],
  ]
  for (const options of sizes) {
    it(`${options.join(' ')} keeps every byte of a big file`, () => {
      mount(...options)
      const script = `import os, hashlib
data = os.urandom(1 << 20)
h = hashlib.sha256()
with open('big', 'wb') as f:
    for i in range(48):
        piece = data[i:] + data[:i]
        h.update(piece)
        f.write(piece)
with open('big', 'rb') as f: print(hashlib.sha256(f.read()).digest() == h.digest())
os.unlink('big')`
      assert.equal(python(script, root), 'True')
      if (options[1] === 'memory') assert.match(mountLine()!, /max_read=131072/)
    })
  }

  it('--metrics is an endpoint with the labels of the mount, and an address in use is no reason to fail', async () => {
    mount('--custom-labels', 'rack:r1')
    const address = (JSON.parse(readFileSync(join(root, '.config'), 'utf8')) as { Port: { PrometheusAgent: string } })
      .Port.PrometheusAgent
    const text = await (await fetch(`http://${address}/metrics`)).text()
    assert.match(text, /^juicefs_uptime\{[^}]*rack="r1"[^}]*\} /m)
    assert.ok(text.includes(`mp="${root}"`) && text.includes('vol_name="test-volume"'))
    const second = newVolume()
    try {
      second.mount(['--backup-meta', '0', '--metrics', address])
      assert.match(readFileSync(second.logFile, 'utf8'), /<ERROR>: .*metrics/i)
      second.unmount()
    } finally {
      second.remove()
    }
  })

  it('relative paths and a table prefix are those of the directory where the command was given', () => {
    const { dir } = volume
    const url = "'sqlite3://relative.db?table_prefix=pp'"
    assert.match(
      shell(`mkdir m2; ${launcher} format --storage file --bucket b2 ${url} vol2 2>&1 && echo formatted`, dir),
      /formatted$/m,
    )
    const mounted = shell(
      `${launcher} mount -d --no-syslog --log l2 --cache-dir c2 --metrics 127.0.0.1:0 --backup-meta 0 ${url} m2 2>&1 && echo mounted`,
      dir,
    )
    try {
      assert.match(mounted, /mounted$/m)
      writeFileSync(join(dir, 'm2/f'), 'x')
      for (const name of ['relative.db', 'b2', 'c2', 'l2']) assert.ok(existsSync(join(dir, name)), name)
    } finally {
      cli(['umount', join(dir, 'm2')])
    }
    assert.equal(readdirSync('/').includes('relative.db'), false)
  })
})

describe('a mount by a user', { skip: mountSkip }, () => {
  it('goes through fusermount3 and is seen by that user only', t => {
    if (!has('setpriv') || !has('fusermount3') || !has('unshare')) return t.skip('no setpriv, fusermount3 or unshare')
    const volume = newVolume()
    try {
      const { dir, mountPoint, metaUrl } = volume
      // fusermount3 serves only users that have a name.
      if (spawnSync('getent', ['passwd', `${NOBODY.uid}`]).status !== 0) return t.skip('there is no user 65534')
      if (!as(NOBODY, `${launcher} version`, '/').includes('juicefs version'))
        return t.skip('another user cannot run the program from here')
      spawnSync('chown', ['-R', `${NOBODY.uid}:${NOBODY.uid}`, dir])
      // In a mount namespace of its own, where the device is open to everybody, as distributions have it.
      const asUser = (uid: number, script: string): string =>
        `HOME=${dir} setpriv --reuid ${uid} --regid ${uid} --clear-groups sh -c '${script}'`
      const logs = `--no-syslog --log ${volume.logFile} --cache-dir ${volume.cacheDir} --backup-meta 0`
      const said = shell(
        `mknod device c 10 229 && chmod 666 device && mount --bind device /dev/fuse || exit 9
        ${asUser(NOBODY.uid, `${launcher} mount -d ${logs} --metrics 127.0.0.1:0 ${metaUrl} ${mountPoint} && echo mounted`)}
        grep ${mountPoint} /proc/mounts
        ${asUser(NOBODY.uid, `cd ${mountPoint} && echo hi > f && cat f && stat -c "owner %u" f`)}
        ${asUser(54322, `ls ${mountPoint}`)}
        ${asUser(NOBODY.uid, `${launcher} umount ${mountPoint} && echo ended`)}`,
        dir,
        ['unshare', '-m', '--propagation', 'private'],
      )
      assert.match(said, /^mounted$/m)
      assert.match(said, new RegExp(`^JuiceFS:test-volume ${mountPoint} fuse.juicefs .*user_id=${NOBODY.uid}`, 'm'))
      assert.match(said, new RegExp(`^hi\nowner ${NOBODY.uid}$`, 'm'))
      assert.match(said, /^ls: .*Permission denied$/m)
      assert.match(said, /^ended$/m)
    } finally {
      volume.remove()
    }
  })
})

describe('a volume with ACLs', { skip: mountSkip || (!has('setfacl') && 'no setfacl') }, () => {
  let volume: TestVolume
  before(() => {
    volume = newVolume({ format: ['--enable-acl', '--trash-days', '0'] })
    volume.mount(['--backup-meta', '0'])
  })
  after(() => volume.remove())
  const acl = (name: string): string[] => shell(`getfacl -cEn ${name}`, volume.mountPoint).trim().split('\n')

  it('that never had a trash shows an empty one, and ls has nothing to complain about', () => {
    assert.match(shell('ls -la', volume.mountPoint), /^dr-xr-xr-x .* \.trash$/m)
    const asked = 'ls -la > /dev/null && ls -A .trash && getfattr -d -m - .trash && getfacl -c .trash | head -1'
    assert.equal(shell(asked, volume.mountPoint), 'user::r-x\n')
  })

  it('gives the default list of a directory to what is made in it, and honours it', () => {
    const { mountPoint } = volume
    shell('umask 077; mkdir d; setfacl -m u:54321:rwx,d:u:54321:rwx,d:g:54322:rx d; : > d/f; mkdir d/e', mountPoint)
    const named = ['user::rw-', 'user:54321:rwx', 'group::---', 'group:54322:r-x', 'mask::rw-', 'other::---']
    assert.deepEqual(acl('d/f'), named)
    assert.ok(acl('d/e').includes('default:user:54321:rwx'))
    assert.equal(as(STRANGER, 'echo hi > d/mine && cat d/mine', mountPoint), 'hi\n')
    assert.match(as({ uid: 54323 }, ': > d/other', mountPoint), /Permission denied/)
  })

  it('takes the group bits of chmod for the mask', () => {
    chmodSync(join(volume.mountPoint, 'd/f'), 0o640)
    assert.ok(acl('d/f').includes('mask::r--'))
    assert.match(as(STRANGER, 'echo no > d/f', volume.mountPoint), /Permission denied/)
    assert.equal(as(STRANGER, 'cat d/f', volume.mountPoint), '')
  })
})
