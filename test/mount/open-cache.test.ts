/** `--open-cache` on two mounts: attributes of opened files are believed without asking, and still nothing that another client wrote
 *  is overwritten by what we append, and who has a lock sees what was written before it. */

import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { allEngines } from '../servers/engines.ts'
import { mountSkip } from './harness.ts'
import { type ManyClients, manyClients, python } from './many-clients-harness.ts'

const SECONDS = 4
const APPEND = `import fcntl, os, sys, time
a, b, truth = sys.argv[1:]
def opened(mount, name, flags=os.O_WRONLY | os.O_APPEND): return os.open(f'{mount}/{name}', flags | os.O_CREAT, 0o644)
def append(mount, name, data):
    fd = opened(mount, name); os.write(fd, data); os.close(fd)
def stored(name): return open(f'{truth}/{name}', 'rb').read()
`

for (const { kind, skip, start } of allEngines.filter(each => each.kind === 'sqlite3' || each.kind === 'postgres')) {
  describe(`two mounts with --open-cache on ${kind}`, { skip: mountSkip || skip, timeout: 120_000 }, () => {
    let clients: ManyClients
    /** two that trust, and one that asks */
    let places: string[]
    before(async () => {
      clients = await manyClients({ kind, skip, start }, 2, { mount: ['--open-cache', String(SECONDS)] })
      places = [...clients.mounts, clients.mountOne(['--open-cache', '0', '--attr-cache', '0', '--entry-cache', '0'])]
    })
    after(() => clients?.remove())
    async function said(script: string): Promise<string> {
      const { stdout, stderr } = await python(APPEND + script, ...places)
      assert.equal(stderr, '')
      return stdout
    }

    it('append behind what the other appended, also through a file that is open all the time', async () => {
      const closed = `for i in range(4): append((a, b)[i % 2], 'closed', b'%d' % i)
print(stored('closed').decode())`
      assert.equal(await said(closed), '0123\n')
      const open = `one, two = opened(a, 'open'), opened(b, 'open')
for i in range(4):
    fd = (one, two)[i % 2]
    os.write(fd, b'%d' % i); os.fsync(fd)
print(stored('open').decode())`
      assert.equal(await said(open), '0123\n')
    })

    it('append where the file ends after the other has cut it', async () => {
      const script = `fd = opened(a, 'cut')
os.write(fd, b'x' * 10000); os.fsync(fd)
os.truncate(f'{b}/cut', 0); append(b, 'cut', b'new')
os.write(fd, b' and more'); os.close(fd)
print(stored('cut').decode())`
      assert.equal(await said(script), 'new and more\n')
    })

    for (const lock of ['flock', 'lockf']) {
      it(`read under ${lock} what the other wrote under it`, async () => {
        const script = `for i in range(30):
    fd = opened((a, b)[i % 2], '${lock}', os.O_RDWR)
    fcntl.${lock}(fd, fcntl.LOCK_EX)
    at = os.lseek(fd, 0, os.SEEK_END)
    count = int(os.pread(fd, 4, at - 4) or b'0') if at > 0 else 0
    os.pwrite(fd, b'%04d' % (count + 1), at)
    fcntl.${lock}(fd, fcntl.LOCK_UN); os.close(fd)
print(stored('${lock}') == b''.join(b'%04d' % (i + 1) for i in range(30)))`
        assert.equal(await said(script), 'True\n')
      })
    }

    it('see what the other wrote after that time, and never a mixture; and at once what they wrote themselves', async () => {
      const script = `append(a, 'seen', b'0' * 8192)
read = lambda mount: open(f'{mount}/seen', 'rb').read()
read(b); start = time.time()
fd = opened(a, 'seen', os.O_WRONLY); os.pwrite(fd, b'1' * 8192, 0); os.close(fd)
assert read(a) == b'1' * 8192
while (found := read(b)) != b'1' * 8192:
    assert found == b'0' * 8192
    time.sleep(0.05)
print(time.time() - start)`
      const seconds = Number(await said(script))
      assert.ok(seconds < SECONDS + 1, `${seconds} s`)
    })

    it('find what the other has put in the place of a file, when the name is asked for anew', async () => {
      const script = `append(a, 'name', b'old')
read = lambda: open(f'{b}/name', 'rb').read()
assert read() == b'old'
append(a, 'beside', b'newer'); os.rename(f'{a}/beside', f'{a}/name')
start = time.time()
while (found := read()) != b'newer':
    assert found == b'old'
    time.sleep(0.05)
print(time.time() - start)`
      const seconds = Number(await said(script))
      assert.ok(seconds < 2, `${seconds} s`)
    })
  })
}
