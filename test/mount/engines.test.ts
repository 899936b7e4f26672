/** Two mounts of one volume on each engine with a server, as two machines would be: what SEMANTICS.md promises to several clients. */

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { silentLog } from '../../src/base/log.ts'
import { openEngine } from '../../src/cmd/volume.ts'
import { checkVolume } from '../../src/meta/check.ts'
import type { Engine } from '../../src/meta/engine.ts'
import { rowsOf } from '../../src/meta/scan.ts'
import { type EngineServer, isAboutUsage, SUMS_IN_CLIENT, serverEngines } from '../servers/engines.ts'
import { cli, lockThrough, mountSkip, newVolume, python, type TestVolume } from './harness.ts'

const HEARTBEAT = ['--backup-meta', '0', '--heartbeat', '1']

for (const { kind, skip, start } of serverEngines) {
  describe(`two mounts of one volume on ${kind}`, { skip: mountSkip || skip }, () => {
    let server: EngineServer
    let volume: TestVolume
    let engine: Engine
    let a: string
    let b: string
    before(async () => {
      server = await start()
      volume = newVolume({ metaUrl: server.newDatabase()(), format: ['--trash-days', '1', '--capacity', '1'] })
      engine = await openEngine(volume.metaUrl, { log: silentLog })
      a = volume.mountPoint
      b = join(volume.dir, 'other')
      mkdirSync(b)
      volume.mount(HEARTBEAT)
      mountOther()
    })
    after(async () => {
      if (b) spawnSync('umount', ['-l', b])
      volume?.remove()
      await engine?.close()
      await server?.stop()
    })
    function mountOther(): void {
      const args = ['--no-syslog', '--log', join(volume.dir, 'other.log'), '--cache-dir', join(volume.dir, 'cache2')]
      const mounted = cli(['mount', '-d', ...args, '--metrics', '127.0.0.1:0', ...HEARTBEAT, volume.metaUrl, b])
      assert.equal(mounted.status, 0, mounted.stderr)
    }
    const sessions = (): { Sid: number; MountPoint: string; ProcessID: number }[] =>
      JSON.parse(cli(['status', volume.metaUrl]).stdout).Sessions
    /** inodes that a session keeps although they have no name */
    async function sustained(): Promise<number[]> {
      const inos: number[] = []
      for await (const { sid } of rowsOf(engine, 'sessions', {})) {
        for await (const { ino } of rowsOf(engine, 'sustained', { sid })) inos.push(ino)
      }
      return inos
    }
    async function until(isSo: () => Promise<boolean> | boolean, what: string): Promise<void> {
      for (let i = 0; !(await isSo()); i++) {
        assert.ok(i < 150, what)
        await sleep(100)
      }
    }

    it('see what the other closed when they open', () => {
      for (const [writer, reader] of [
        [a, b],
        [b, a],
        [a, b],
      ] as const) {
        const text = `from ${writer}, ${performance.now()}`.repeat(1000)
        writeFileSync(join(writer, 'seen'), text)
        assert.equal(readFileSync(join(reader, 'seen'), 'utf8'), text)
      }
    })

    it('see what the other appended when they open again, with the file open all the time', async () => {
      const script = `import os, sys
a, b = (p + '/appended' for p in sys.argv[1:])
open(a, 'w').write('one ')
held = open(b); assert held.read() == 'one '
for word in ('two ', 'three '):
    with open(a, 'a') as f: f.write(word)
    fresh = open(b).read()
    assert fresh.endswith(word), fresh
held.seek(0); print(held.read())`
      const { stdout, stderr } = await python(script, a, b)
      assert.equal(stdout, 'one two three \n', stderr)
    })

    it('lose nothing when four processes create, rename and remove in one directory', async () => {
      mkdirSync(join(a, 'busy'))
      const script = `import os, sys
where, me = sys.argv[1] + '/busy/', sys.argv[2]
for i in range(60):
    with open(f'{where}{me}-{i}', 'x') as f: f.write(str(i))
    if i % 3 == 1: os.rename(f'{where}{me}-{i}', f'{where}{me}-r{i}')
    if i % 3 == 2: os.unlink(f'{where}{me}-{i}')
    if i % 10 == 9: os.mkdir(f'{where}{me}-d{i}')`
      const ran = await Promise.all([a, b, a, b].map((mount, i) => python(script, mount, `${i}`)))
      assert.deepEqual(
        ran.map(each => each.stderr),
        ['', '', '', ''],
      )
      for (const mount of [a, b]) {
        assert.equal(readdirSync(join(mount, 'busy')).length, 4 * (40 + 6))
        await until(() => statSync(join(mount, 'busy')).nlink === 2 + 4 * 6, 'link count of the directory')
        assert.equal(readFileSync(join(mount, 'busy/1-r58'), 'utf8'), '58')
      }
    })

    for (const lock of ['flock', 'lockf'] as const) {
      it(`exclude each other by ${lock}, and who waits is woken within a second of the unlock`, async () => {
        const { isExcluded, wokenAfterSec } = await lockThrough(lock, [a, b])
        assert.ok(isExcluded)
        assert.ok(wokenAfterSec > 0 && wokenAfterSec < 1.5, `${wokenAfterSec} s`)
      })
    }

    it('lock ranges of one file apart from each other, and tell who holds one', async () => {
      const script = `import fcntl, os, struct, sys
mine = open(sys.argv[1] + '/ranges', 'w+'); other = open(sys.argv[2] + '/ranges', 'w+')
fcntl.lockf(mine, fcntl.LOCK_EX, 10, 0)
fcntl.lockf(other, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 10)
try: fcntl.lockf(other, fcntl.LOCK_SH | fcntl.LOCK_NB, 10, 5); print('both')
except BlockingIOError: print('excluded')
asked = struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 0, 100, 0)
kind, _, start, length, pid = struct.unpack('hhqqi4x', fcntl.fcntl(other, fcntl.F_GETLK, asked))
print(kind == fcntl.F_WRLCK, start, length)`
      const { stdout, stderr } = await python(script, a, b)
      assert.equal(stdout, 'excluded\nTrue 0 10\n', stderr)
    })

    it('keep the data of a file that is unlinked where it is open, until it is closed', async () => {
      assert.equal(cli(['config', '--yes', '--trash-days', '0', volume.metaUrl]).status, 0)
      await until(() => {
        writeFileSync(join(a, 'try'), '')
        unlinkSync(join(a, 'try'))
        return !trashed(a, 'try')
      }, 'the mount takes up that there is no trash any more')
      writeFileSync(join(a, 'open'), 'still here')
      const fd = openSync(join(a, 'open'), 'r')
      unlinkSync(join(a, 'open'))
      assert.equal(existsSync(join(b, 'open')), false)
      assert.equal((await sustained()).length, 1)
      const bytes = Buffer.alloc(10)
      assert.equal(readSync(fd, bytes, 0, 10, 0), 10)
      assert.equal(bytes.toString(), 'still here')
      closeSync(fd)
      await until(async () => (await sustained()).length === 0, 'gone after the last close')
    })

    /** Is there an entry of this name in the trash? Takes it out. */
    function trashed(mount: string, name: string): boolean {
      const trash = join(mount, '.trash')
      const found = readdirSync(trash).flatMap(hour =>
        readdirSync(join(trash, hour)).map(entry => join(trash, hour, entry)),
      )
      const mine = found.filter(path => path.endsWith(`-${name}`))
      for (const path of mine) unlinkSync(path)
      return mine.length > 0
    }

    it('are both in status; when one is killed, the other ends its session, its locks and its open files', async () => {
      const points = (): string[] =>
        sessions()
          .map(each => each.MountPoint)
          .sort()
      assert.deepEqual(points(), [a, b].sort())
      const holder = await python(
        `import fcntl, os, signal, sys
f = open(sys.argv[1] + '/kept', 'w'); fcntl.flock(f, fcntl.LOCK_EX); fcntl.lockf(f, fcntl.LOCK_EX)
g = open(sys.argv[1] + '/left-open', 'w'); os.unlink(sys.argv[1] + '/left-open')
os.kill(int(sys.argv[2]), signal.SIGKILL)`,
        b,
        String(sessions().find(each => each.MountPoint === b)!.ProcessID),
      )
      assert.equal(holder.stderr, '')
      await until(() => points().length === 1, 'the session of the dead is ended')
      assert.deepEqual(await sustained(), [])
      const again = await python(
        `import fcntl, sys
f = open(sys.argv[1] + '/kept', 'w'); fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB); fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB)`,
        a,
      )
      assert.equal(again.stderr, '')
      mountOther()
      assert.deepEqual(points(), [a, b].sort())
    })

    it('take a changed capacity, inode limit and trash up at their heartbeats', async () => {
      const limits = ['--capacity', '2', '--inodes', '10000', '--trash-days', '2']
      const changed = cli(['config', '--yes', ...limits, volume.metaUrl])
      assert.equal(changed.status, 0, changed.stderr)
      const size = (mount: string): string => {
        const [blocks, bytes, inodes] = spawnSync('stat', ['-fc', '%b %S %c', mount], {
          encoding: 'utf8',
        }).stdout.split(' ')
        return `${Number(blocks) * Number(bytes)} ${Number(inodes)}`
      }
      for (const mount of [a, b]) await until(() => size(mount) === `${2 * 2 ** 30} 10000`, size(mount))
    })

    it('walk the trash, and take back from it what the other removed', async () => {
      mkdirSync(join(a, 'lost'))
      writeFileSync(join(a, 'lost', 'file'), 'precious')
      await until(() => {
        writeFileSync(join(b, 'try'), '')
        unlinkSync(join(b, 'try'))
        return trashed(b, 'try')
      }, 'the mount takes up that there is a trash again')
      unlinkSync(join(b, 'lost', 'file'))
      rmSync(join(b, 'lost'), { recursive: true })
      const trash = join(a, '.trash')
      const [hour] = readdirSync(trash).slice(-1)
      const entries = readdirSync(join(trash, hour!))
      const file = entries.find(name => name.endsWith('-file'))
      const directory = entries.find(name => name.endsWith('-lost'))
      assert.match(file!, /^\d+-\d+-file$/)
      assert.match(directory!, /^1-\d+-lost$/)
      assert.equal(statSync(join(trash, hour!)).ino > 2 ** 52, true, 'inodes of the trash come through whole')
      const listed = spawnSync('ls', ['-laiR', trash], { encoding: 'utf8' })
      assert.equal(listed.status, 0, listed.stderr)
      const [, number] = /^\s*(\d+) .* \.$/m.exec(listed.stdout)!
      assert.equal(number, '9223372032828243968')
      assert.throws(() => writeFileSync(join(trash, 'new'), ''), { code: 'EPERM' })
      renameSync(join(trash, hour!, directory!), join(a, 'lost'))
      renameSync(join(trash, hour!, file!), join(a, 'lost', 'file'))
      assert.equal(readFileSync(join(b, 'lost', 'file'), 'utf8'), 'precious')
    })

    it('end cleanly, and leave records that agree', async () => {
      for (const mount of [a, b]) assert.equal(cli(['umount', mount]).status, 0)
      assert.deepEqual(sessions(), [])
      // What the killed mount had summed in its last second is not counted.
      const wrong = await checkVolume(engine)
      assert.deepEqual(SUMS_IN_CLIENT.has(kind) ? wrong.filter(line => !isAboutUsage(line)) : wrong, [])
    })
  })
}
