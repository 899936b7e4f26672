import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { afterEach, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { SystemClock } from '../../src/base/clock.ts'
import { describeSession, processIsGone } from '../../src/meta/session.ts'

/** The record of a session whose process is `pid`, on this machine unless told otherwise. */
function sessionOf(pid: number, other: Record<string, string> = {}): Buffer {
  const info = describeSession({ version: '0.1.0', mountPoint: '/mnt', clock: new SystemClock() })
  return Buffer.from(JSON.stringify({ ...info, ProcessID: pid, ...other }))
}

/** Runs a program as a user who does not see the processes of others. */
function asNobody(...command: string[]): { status: number | null; stdout: string; stderr: string } {
  const hide = 'mount -t proc -o hidepid=2 proc /proc && exec setpriv --reuid=65534 --regid=65534 --clear-groups "$@"'
  return spawnSync('unshare', ['-m', 'sh', '-c', hide, 'sh', ...command], { encoding: 'utf8' })
}
/** Why that cannot be had here, or false. */
function hiding(): string | false {
  const ours = fileURLToPath(import.meta.url)
  const isSo = ['test', '-r', ours, '-a', '-x', process.execPath, '-a', '!', '-e', '/proc/1']
  return asNobody(...isSo).status === 0 ? false : 'needs root, and a project that everybody may read'
}

describe('the process of a session', () => {
  const children: ChildProcess[] = []
  afterEach(() => {
    for (const child of children.splice(0)) child.kill('SIGKILL')
  })

  it('that runs is not gone', () => assert.equal(processIsGone(sessionOf(process.pid)), false))

  it('that has ended and was reaped is gone', async () => {
    const child = spawn('true')
    await once(child, 'exit')
    assert.equal(processIsGone(sessionOf(child.pid!)), true)
  })

  it('that was killed is gone also while nobody reaps it', async () => {
    // The shell becomes a program that never asks for its child.
    const parent = spawn('sh', ['-c', 'sleep 60 & echo $!; exec sleep 60'], { stdio: ['ignore', 'pipe', 'ignore'] })
    children.push(parent)
    const [line] = (await once(parent.stdout!, 'data')) as [Buffer]
    const pid = Number(line.toString())
    assert.equal(processIsGone(sessionOf(pid)), false)
    process.kill(pid, 'SIGKILL')
    const end = performance.now() + 2000
    while (!processIsGone(sessionOf(pid)) && performance.now() < end) await new Promise(r => setTimeout(r, 10))
    assert.equal(processIsGone(sessionOf(pid)), true)
  })

  it('that belongs to somebody else and is hidden from us is not gone', { skip: hiding() }, () => {
    const probe = `import { processIsGone } from ${JSON.stringify(import.meta.resolve('../../src/meta/session.ts'))}
      const info = JSON.parse(process.argv[1])
      process.stdout.write(String(processIsGone(Buffer.from(JSON.stringify(info)))))`
    const { stdout, stderr } = asNobody(
      process.execPath,
      '--input-type=module',
      '-e',
      probe,
      String(sessionOf(process.pid)),
    )
    assert.equal(stdout, 'false', stderr)
  })

  it('on another machine, or of an unreadable record, may still run', () => {
    assert.equal(processIsGone(sessionOf(2 ** 22 + 1, { BootID: 'another' })), false)
    assert.equal(processIsGone(sessionOf(2 ** 22 + 1, { PidNamespace: 'pid:[1]' })), false)
    assert.equal(processIsGone(Buffer.from('{')), false)
    assert.equal(processIsGone(null), false)
  })
})
