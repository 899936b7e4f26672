/** The process that serves files behind sshd, which may end or hang while the connection is well. */

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { SftpStore } from '../../src/object/sftp/store.ts'
import type { RunningProgram } from '../servers/programs.ts'
import { skipSshd, startSshd } from '../servers/sshd.ts'

const SILENCE_MS = 1000
const bytes = Buffer.alloc(1 << 20, 3)

/** pid of the one process below `ancestor` that serves SFTP */
function sftpBelow(ancestor: number): number {
  const parentOf = (pid: number): number =>
    Number(/^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1])
  for (const name of readdirSync('/proc')) {
    const pid = Number(name)
    if (!(pid > 1)) continue
    try {
      if (!readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('internal-sftp')) continue
      for (let at = pid; at > 1; at = parentOf(at)) if (at === ancestor) return pid
    } catch {
      // gone meanwhile
    }
  }
  throw new Error('no process serves SFTP')
}

describe('the process behind an SSH server', { skip: skipSshd }, () => {
  let server: RunningProgram
  let store: SftpStore
  before(async () => {
    server = await startSshd()
  })
  after(() => server?.stop())

  const opened = async (): Promise<number> => {
    const env = { SSH_PRIVATE_KEY_PATH: join(server.dir, 'user') }
    store = new SftpStore({ bucket: `127.0.0.1:${server.port}:${server.dir}/files/` }, env, SILENCE_MS)
    await store.put('k', bytes)
    return sftpBelow(server.process.pid!)
  }

  it('that ends fails what is under way, and the next request finds another', async () => {
    const pid = await opened()
    const pending = Array.from({ length: 20 }, () => store.get('k'))
    process.kill(pid, 'SIGKILL')
    const ended = await Promise.race([Promise.allSettled(pending), sleep(10_000)])
    assert.ok(ended, 'requests never ended')
    for (let i = 0; ; i++) {
      const got = await store.get('k').catch(error => error)
      if (Buffer.isBuffer(got) && got.equals(bytes)) break
      assert.ok(i < 3, String(got))
    }
    await store.close()
  })

  it('that hangs fails what waits for it, and the next request finds another', async () => {
    const pid = await opened()
    process.kill(pid, 'SIGSTOP')
    try {
      const outcome = await Promise.race([
        store.put('k2', bytes).then(
          () => 'stored',
          () => 'failed',
        ),
        sleep(10_000),
      ])
      assert.equal(outcome, 'failed')
      assert.ok((await store.get('k')).equals(bytes))
    } finally {
      process.kill(pid, 'SIGKILL')
    }
    await sleep(SILENCE_MS * 1.5)
    assert.ok((await store.get('k')).equals(bytes), 'an idle connection is not silent')
    await store.close()
  })
})
