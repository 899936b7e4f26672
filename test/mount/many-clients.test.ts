/** What clients see of each other in the moments when the kernel of one still believes what another has changed. */

import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { serverEngines } from '../servers/engines.ts'
import { mountSkip } from './harness.ts'
import { type ManyClients, manyClients, python } from './many-clients-harness.ts'

for (const tested of serverEngines) {
  describe(`many clients on ${tested.kind}`, { skip: mountSkip || tested.skip }, () => {
    let all: ManyClients
    let a: string
    let b: string
    before(async () => {
      all = await manyClients(tested, 2)
      ;[a, b] = all.mounts as [string, string]
    })
    after(() => all?.remove())

    it('always find a name that another replaces again and again, and behind it the newest or the one before', async () => {
      const script = `import os, sys
a, b = sys.argv[1:]
def put(path, text):
    with open(path, 'w') as f: f.write(text)
for i in range(8):
    put(f'{a}/next', f'{i}'); os.rename(f'{a}/next', f'{a}/file')
    with open(f'{b}/file') as f: assert f.read() == f'{i}'
    os.chmod(f'{b}/file', 0o600 + i % 8)
    os.truncate(f'{b}/file', 0)
    os.symlink('file', f'{a}/next'); os.rename(f'{a}/next', f'{a}/link')
    os.readlink(f'{b}/link'); os.stat(f'{b}/link')
    os.mkdir(f'{a}/next'); os.rename(f'{a}/next', f'{a}/dir')
    put(f'{b}/dir/{i}', '')
    os.mkdir(f'{b}/dir/d{i}')
    os.listdir(f'{b}/dir')
    os.unlink(f'{a}/dir/{i}'); os.rmdir(f'{a}/dir/d{i}')`
      const { stderr } = await python(script, a, b)
      assert.equal(stderr, '')
    })

    it('are told that a file is gone when it has no name any more', async () => {
      const script = `import os, sys
a, b = sys.argv[1:]
open(f'{a}/short', 'w').close(); os.stat(f'{b}/short'); os.unlink(f'{a}/short')
for use in (lambda p: open(p), lambda p: os.chmod(p, 0o600), lambda p: os.truncate(p, 1)):
    try: use(f'{b}/short'); print('there')
    except FileNotFoundError: print('gone')`
      const { stdout, stderr } = await python(script, a, b)
      assert.equal(stdout, 'gone\ngone\ngone\n', stderr)
    })

    it('list what another made, with --readdir-cache after --attr-cache, also where the times of the directory stand still', async () => {
      const lister = all.mountOne(['--readdir-cache'])
      const maker = all.mountOne(['--skip-dir-mtime', '1h'])
      const script = `import os, sys, time
lister, maker = (p + '/listed' for p in sys.argv[1:])
os.mkdir(maker)
for i in range(2):
    open(f'{maker}/{i}', 'w').close()
    time.sleep(1.1)
    for again in range(2): print(len(os.listdir(lister)), end=' ')`
      const { stdout, stderr } = await python(script, lister, maker)
      assert.equal(stdout, '1 1 2 2 ', stderr)
    })

    for (const lock of ['flock', 'lockf']) {
      it(`see under a ${lock} all that was written under it before, through files that stay open`, async () => {
        const script = `import fcntl, os, subprocess, sys
work = """
import fcntl, os, sys
path = sys.argv[1]
number = os.open(path + '/number', os.O_RDWR)
log = os.open(path + '/log', os.O_RDWR | os.O_APPEND)
for i in range(15):
    fcntl.${lock}(number, fcntl.LOCK_EX)
    seen = int(os.pread(number, 100, 0).split()[0])
    # as long as before, or longer
    os.pwrite(number, b'%d ' % (seen + 1) + b'.' * (seen % 7), 0)
    fcntl.${lock}(number, fcntl.LOCK_UN)
    fcntl.${lock}(log, fcntl.LOCK_EX)
    os.write(log, b'%d\\\\n' % (seen + 1))
    fcntl.${lock}(log, fcntl.LOCK_UN)
"""
a, b = sys.argv[1:]
with open(f'{a}/number', 'w') as f: f.write('0 ')
with open(f'{a}/log', 'w') as f: pass
workers = [subprocess.Popen([sys.executable, '-c', work, mount]) for mount in (a, b, a, b)]
print([w.wait() for w in workers], open(f'{a}/number').read().split()[0])
print(sorted(map(int, open(f'{b}/log').read().split())) == list(range(1, 61)))`
        const { stdout, stderr } = await python(script, a, b)
        assert.equal(stdout, '[0, 0, 0, 0] 60\nTrue\n', stderr)
      })
    }

    it('use one SQLite database from both, without losing a row', async () => {
      const script = `import sqlite3, subprocess, sys
work = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1] + '/data.db', timeout=60, isolation_level=None)
for i in range(6):
    db.execute('BEGIN IMMEDIATE')
    db.execute('UPDATE counts SET n = n + 1'); db.execute('INSERT INTO items VALUES (?)', (sys.argv[2] + str(i),))
    db.execute('COMMIT')
"""
a, b = sys.argv[1:]
db = sqlite3.connect(f'{a}/data.db')
db.execute('CREATE TABLE counts (n)'); db.execute('CREATE TABLE items (name)'); db.execute('INSERT INTO counts VALUES (0)')
db.commit(); db.close()
workers = [subprocess.Popen([sys.executable, '-c', work, mount, name]) for mount, name in ((a, 'x'), (b, 'y'))]
print([w.wait() for w in workers])
db = sqlite3.connect(f'{b}/data.db')
print(db.execute('SELECT n FROM counts').fetchone(), db.execute('SELECT count(DISTINCT name) FROM items').fetchone())
print(db.execute('PRAGMA integrity_check').fetchone())`
      const { stdout, stderr } = await python(script, a, b)
      assert.equal(stdout, "[0, 0]\n(12,) (12,)\n('ok',)\n", stderr)
    })
  })
}
