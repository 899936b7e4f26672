/** kill -9 cannot show that fsync waits for the disk, since the system's pages survive it. So the order is read from a trace
 *  of the serving process's system calls:
 *
 *      block written, renamed ─► slice committed to the log ─► block, its directory, the log synced ─► fsync answered */

import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import fs from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { missing, program } from '../judges/judges.ts'
import { newVolume, type TestVolume } from '../mount/harness.ts'
import { until } from '../mount/many-clients-harness.ts'
import { bytesOf, sleep } from './harness.ts'

const CALLS = 'pwrite64,write,writev,rename,renameat,renameat2,fsync,fdatasync,unlink,unlinkat'
/** `12 1700.1 rename("a", "b") = 0`, and the two halves of a call that another thread interrupted */
const LINE = /^(\d+)\s+[\d.]+ (?:<\.\.\. )?(\w+)(\(| resumed>)(.*)$/

interface SystemCall {
  readonly name: string
  readonly text: string
  /** lines of the trace */
  readonly begun: number
  ended: number
}

describe('what a reply waits for', { skip: missing('strace'), timeout: 60_000 }, () => {
  let volume: TestVolume
  before(() => {
    volume = newVolume({ format: ['--trash-days', '0'] })
    volume.mount()
  })
  after(() => volume?.remove()) // also where a test that failed has left a file open

  /** The system calls of the serving process while `work` runs. */
  async function trace(work: () => Promise<void>): Promise<SystemCall[]> {
    const file = join(volume.dir, 'trace')
    const args = ['-f', '-y', '-ttt', '-s', '200', '-e', `trace=${CALLS}`, '-o', file, '-p', String(volume.pid())]
    const tracer = spawn(program('strace')!, args, { stdio: ['ignore', 'ignore', 'pipe'] })
    await attached(tracer)
    try {
      await work()
      await sleep(300)
    } finally {
      tracer.kill('SIGINT')
      await new Promise(resolve => tracer.once('exit', resolve))
    }
    return parse(existsSync(file) ? readFileSync(file, 'utf8') : '')
  }

  const attached = (tracer: ChildProcess): Promise<void> =>
    new Promise((resolve, reject) => {
      tracer.once('exit', () => reject(new Error('strace could not attach')))
      tracer.stderr!.once('data', () => setTimeout(resolve, 300))
    })

  function parse(text: string): SystemCall[] {
    const calls: SystemCall[] = []
    const open = new Map<string, SystemCall>()
    for (const [number, line] of text.split('\n').entries()) {
      const [, thread, name, kind, rest] = LINE.exec(line) ?? []
      if (thread === undefined) continue
      if (kind === '(') {
        const call = { name: name!, text: rest!, begun: number, ended: number }
        calls.push(call)
        open.set(thread, call)
      } else open.get(thread)!.ended = number
    }
    return calls
  }

  const one = (calls: SystemCall[], name: RegExp, text: RegExp): SystemCall => {
    const found = calls.filter(call => name.test(call.name) && text.test(call.text))
    assert.ok(found.length > 0, `${name} ${text} in\n${calls.map(call => `${call.name} ${call.text}`).join('\n')}`)
    return found.at(-1)!
  }
  const inOrder = (earlier: SystemCall, later: SystemCall): void =>
    assert.ok(earlier.ended < later.begun, `${earlier.name}(${earlier.text} ends before ${later.name}(${later.text}`)

  const isGone = (dir: string, ending: RegExp): Promise<void> =>
    until(async () => {
      const files = await fs.readdir(dir, { recursive: true })
      return !files.some(path => ending.test(path))
    }, `no file in ${dir} matches ${ending}`)

  it('fsync waits for the block, its name, the commit, and the log', async () => {
    const file = await fs.open(join(volume.mountPoint, 'file'), 'w')
    const calls = await trace(async () => {
      await file.writeFile(bytesOf(1, 100_000))
      await file.sync()
    })
    await file.close()
    const stored = one(calls, /^rename/, /bucket.*_0_100000"/)
    const commit = one(calls, /^pwrite64$/, /meta\.db-wal>/)
    const blockSync = one(calls, /^fdatasync$/, /bucket.*_0_100000>/)
    const nameSync = one(calls, /^fsync$/, /bucket.*chunks\/\d+\/\d+>/)
    const logSync = one(calls, /^fdatasync$/, /meta\.db-wal>/)
    const reply = calls.filter(({ name, text }) => /^write/.test(name) && /\/dev\/fuse>/.test(text)).at(-1)!
    inOrder(stored, commit)
    inOrder(stored, blockSync)
    inOrder(commit, logSync)
    inOrder(blockSync, nameSync)
    inOrder(nameSync, logSync)
    inOrder(logSync, reply)
  })

  it('fsync of a directory waits for the log', async () => {
    const directory = await fs.open(volume.mountPoint, 'r')
    const calls = await trace(async () => {
      await fs.mkdir(join(volume.mountPoint, 'made'))
      await directory.sync()
    })
    await directory.close()
    const commit = one(calls, /^pwrite64$/, /meta\.db-wal>/)
    const logSync = one(calls, /^fdatasync$/, /meta\.db-wal>/)
    const reply = calls.filter(({ name, text }) => /^write/.test(name) && /\/dev\/fuse>/.test(text)).at(-1)!
    inOrder(commit, logSync)
    inOrder(logSync, reply)
  })

  it('with write-back, fsync waits for the staged block and its name; the staged file goes only when the object is durable', async () => {
    volume.unmount()
    volume.mount(['--writeback', '--upload-delay', '700ms'])
    const file = await fs.open(join(volume.mountPoint, 'staged'), 'w')
    const calls = await trace(async () => {
      await file.writeFile(bytesOf(2, 50_000))
      await file.sync()
      await isGone(volume.cacheDir, /rawstaging.*_0_50000$/)
    })
    await file.close()
    const staged = one(calls, /^rename/, /rawstaging.*_0_50000"/)
    const commit = one(calls, /^pwrite64$/, /meta\.db-wal>/)
    const blockSync = one(calls, /^fdatasync$/, /rawstaging.*_0_50000>/)
    const nameSync = one(calls, /^fsync$/, /rawstaging\/chunks\/\d+\/\d+>/)
    const logSync = one(calls, /^fdatasync$/, /meta\.db-wal>/)
    const uploaded = one(calls, /^rename/, /bucket.*_0_50000"/)
    const objectSync = one(calls, /^fdatasync$/, /bucket.*_0_50000>/)
    const objectName = one(calls, /^fsync$/, /bucket.*chunks\/\d+\/\d+>/)
    const gone = one(calls, /^unlink/, /rawstaging.*_0_50000"/)
    inOrder(staged, commit)
    inOrder(staged, blockSync)
    inOrder(blockSync, nameSync)
    inOrder(nameSync, logSync)
    inOrder(logSync, uploaded)
    inOrder(uploaded, objectSync)
    inOrder(objectSync, objectName)
    inOrder(objectName, gone)
  })

  it('an object is deleted only when it is durable that nothing names it', async () => {
    const calls = await trace(async () => {
      await fs.unlink(join(volume.mountPoint, 'file'))
      await isGone(volume.bucket, /_0_100000$/)
    })
    const gone = one(calls, /^unlink/, /bucket.*_0_100000"/)
    const commits = calls.filter(({ name, text }) => name === 'pwrite64' && /meta\.db-wal>/.test(text))
    assert.ok(commits.some(({ ended }) => ended < gone.begun))
    const lastCommit = commits.filter(({ ended }) => ended < gone.begun).at(-1)!
    const syncs = calls.filter(({ name, text }) => name === 'fdatasync' && /meta\.db-wal>/.test(text))
    assert.ok(syncs.some(sync => sync.begun > lastCommit.ended && sync.ended < gone.begun))
  })
})
