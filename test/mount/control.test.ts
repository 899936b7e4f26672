/** `.control` is open to everybody, and the kernel knows nothing of what is asked there: so the mount checks it. */

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { mountSkip, newVolume, type TestVolume } from './harness.ts'

const NOBODY = 65534
/** Removes a tree by `.control`: prints the last byte of the answer, the errno. */
const REMOVE = `
import os, struct, sys, time
control, parent, name = sys.argv[1], int(sys.argv[2]), sys.argv[3].encode()
fd = os.open(control, os.O_RDWR)
body = struct.pack('>QB', parent, len(name)) + name + bytes([0, 4])
os.write(fd, struct.pack('>II', 1002, len(body)) + body)
reply = b''
while not reply or reply[-1] == 0xfe or len(reply) % 17 == 0:
    reply += os.read(fd, 1000)
    time.sleep(0.01)
print(reply[-1])
`

describe('a request by .control', { skip: mountSkip, timeout: 30_000 }, () => {
  let volume: TestVolume
  before(() => {
    volume = newVolume()
    volume.mount()
    mkdirSync(join(volume.mountPoint, 'dir/tree'), { recursive: true })
    writeFileSync(join(volume.mountPoint, 'dir/tree/file'), 'x')
  })
  after(() => {
    if (existsSync(join(volume.mountPoint, '.config'))) volume.unmount()
    volume.remove()
  })

  function removeAs(uid: number): string {
    const parent = String(statSync(join(volume.mountPoint, 'dir')).ino)
    const args = ['-c', REMOVE, join(volume.mountPoint, '.control'), parent, 'tree']
    const ran = spawnSync('python3', args, { uid, gid: uid, encoding: 'utf8', timeout: 10_000 })
    assert.equal(ran.status, 0, ran.stderr)
    return ran.stdout.trim()
  }

  it('to remove a tree is refused to whoever may not change its directory', () => {
    assert.equal(removeAs(NOBODY), '13')
    assert.ok(existsSync(join(volume.mountPoint, 'dir/tree/file')))
  })

  it('does what its maker may do', () => {
    for (const name of ['dir', 'dir/tree']) chmodSync(join(volume.mountPoint, name), 0o777)
    assert.equal(removeAs(NOBODY), '0')
    assert.ok(!existsSync(join(volume.mountPoint, 'dir/tree')))
  })
})
