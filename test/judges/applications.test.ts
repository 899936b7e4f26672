/** Real programs at work inside a mount: git, a C build, Python, databases, archives. */

import assert from 'node:assert/strict'
import { chownSync, existsSync, globSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'

import { mountedVolume, projectRoot, type Ran, run, type TestVolume } from '../mount/harness.ts'
import { missing, size } from './judges.ts'

const initdb = globSync('/usr/lib/postgresql/*/bin/initdb')[0]

describe('applications in a mount', { skip: missing('git', 'cc', 'python3', 'rsync', 'setfacl', 'setfattr') }, () => {
  let volume: TestVolume
  let outside: string
  before(() => {
    volume = mountedVolume({ format: ['--enable-acl'], mount: ['--enable-xattr'] })
    outside = join(volume.dir, 'outside')
    mkdirSync(outside)
  })
  after(() => volume.remove())

  async function sh(script: string, cwd = volume.mountPoint, timeoutMs = 300_000): Promise<Ran> {
    const ran = await run('/bin/sh', ['-euc', script], { cwd, timeoutMs })
    assert.equal(ran.status, 0, `${script}\n${ran.stdout.slice(-1500)}\n${ran.stderr.slice(-1500)}`)
    return ran
  }

  it('git clones, commits, checks and packs a repository', async () => {
    await sh(`git -c safe.directory='*' clone -q "${projectRoot}" repo && cd repo
      git config user.email a@example.com && git config user.name a
      for i in 1 2 3 4 5; do mkdir -p d$i; for j in 1 2 3 4 5 6 7 8 9; do echo $i$j > d$i/f$j; done; git add . ; git commit -qm c$i; done
      git fsck --strict && git gc -q --aggressive --prune=now && git fsck && git status --porcelain | wc -l | grep -qx 0`)
  })

  it('a C project builds and its programs run from the mount', async () => {
    mkdirSync(join(volume.mountPoint, 'c'))
    writeFileSync(
      join(volume.mountPoint, 'c', 'Makefile'),
      'OBJS=$(patsubst %.c,%.o,$(wildcard *.c))\nprog: $(OBJS)\n\tcc -o $@ $^\nclean:\n\trm -f *.o prog\n',
    )
    await sh(`cd c; for i in $(seq 40); do echo "int f$i(int x){return x+$i;}" > f$i.c; done
      { for i in $(seq 40); do echo "int f$i(int);"; done; echo 'int main(void){int x=0;'; for i in $(seq 40); do echo "x=f$i(x);"; done; echo 'return x==820?0:1;}'; } > main.c
      make -s -j2 prog && ./prog && make -s clean && make -s prog && ./prog`)
  })

  it('a Python virtual environment is made and used', async t => {
    if ((await run('python3', ['-c', 'import ensurepip, venv'])).status !== 0)
      return t.skip('python3-venv not installed')
    await sh(
      'python3 -m venv venv && ./venv/bin/python -c "import json,sqlite3,ssl; print(json.dumps(1))" && ./venv/bin/pip --version',
    )
  })

  for (const mode of ['wal', 'delete', 'truncate']) {
    it(`SQLite keeps its promises in journal mode ${mode}`, async () => {
      await sh(`python3 - <<'P'
import sqlite3
db = sqlite3.connect('app-${mode}.db', timeout=30)
assert db.execute('pragma journal_mode=${mode}').fetchone()[0] == '${mode}'
db.execute('create table t(a integer primary key, b blob)')
for i in range(${size(60, 500)}):
    with db:
        db.executemany('insert into t(b) values(?)', [(bytes([i % 256]) * 700,) for _ in range(20)])
        db.execute('delete from t where a % 7 = ?', (i % 7,))
db.close()
db = sqlite3.connect('app-${mode}.db')
assert db.execute('pragma integrity_check').fetchone()[0] == 'ok'
db.execute('vacuum'); assert db.execute('pragma integrity_check').fetchone()[0] == 'ok'
P`)
    })
  }

  it('PostgreSQL runs pgbench on a data directory in the mount', {
    skip: initdb ? false : 'postgresql not installed',
  }, async () => {
    const bin = join(initdb!, '..')
    const data = join(volume.mountPoint, 'pg')
    mkdirSync(data, { mode: 0o700 })
    const uid = Number((await sh('id -u postgres')).stdout)
    chownSync(data, uid, Number((await sh('id -g postgres')).stdout))
    chownSync(outside, uid, -1)
    const as = (script: string) => `su postgres -s /bin/sh -c '${script}'`
    await sh(as(`${bin}/initdb -A trust -D ${data} >/dev/null`), '/')
    await sh(
      as(
        `${bin}/pg_ctl -s -w -D ${data} -l ${outside}/pg.log -o "-k ${outside} -c listen_addresses= -c fsync=on" start`,
      ),
      '/',
    )
    try {
      await sh(
        as(`${bin}/createdb -h ${outside} bench && ${bin}/pgbench -q -i -s 2 -h ${outside} bench 2>/dev/null`),
        '/',
      )
      const bench = await sh(as(`${bin}/pgbench -n -c 4 -T ${size(5, 60)} -h ${outside} bench`), '/')
      assert.match(bench.stdout, /number of failed transactions: 0/)
      await sh(
        as(
          `${bin}/pg_ctl -s -m immediate -D ${data} stop; ${bin}/pg_ctl -s -w -D ${data} -l ${outside}/pg.log -o "-k ${outside} -c listen_addresses=" start`,
        ),
        '/',
      )
      const sum = await sh(
        as(
          `${bin}/psql -Atqh ${outside} bench -c "select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history)"`,
        ),
        '/',
      )
      assert.equal(sum.stdout.trim(), 't', 'balances and history agree after a crash of the server')
    } finally {
      await run('/bin/sh', ['-c', as(`${bin}/pg_ctl -s -m fast -D ${data} stop`)], { cwd: '/' })
    }
  })

  it('tar and rsync carry xattrs, ACLs, hard links and sparse files there and back', async () => {
    await sh(`mkdir src && cd src && echo a > plain && ln plain hard && ln -s plain soft && mkfifo pipe
      truncate -s 70M sparse && printf end | dd of=sparse bs=1 seek=73400320 conv=notrunc 2>/dev/null && chmod 4751 plain && mkdir -p deep/er
      setfattr -n user.note -v 'some value' plain && setfacl -m u:1000:rw plain && setfacl -d -m g:1000:rx deep && touch -d '2001-02-03 04:05:06.123456789' plain
      touch "$(printf 'odd\\377name')" && touch -h -d '2002-03-04 05:06:07.123456789' pipe soft`) // rsync sets no time that differs by less than a second
    await sh(
      `tar --xattrs --acls -Scf "${outside}/a.tar" -C src . && mkdir back && tar --xattrs --xattrs-include='*' --acls -xpf "${outside}/a.tar" -C back`,
    )
    await sh('rsync -aHAXS src/ rsynced/')
    for (const copy of ['back', 'rsynced']) {
      await sh(`for d in src ${copy}; do (cd $d; find . -printf '%P %y %m %U %G %s %n %T@ %l\\n' | grep -av ' d ' | sort; getfacl -R . 2>/dev/null; getfattr -Rd . 2>/dev/null; find . -type f -exec sha256sum {} + | sort) > "${outside}/$d.list"; done
        diff "${outside}/src.list" "${outside}/${copy}.list"; [ "$(stat -c %i ${copy}/plain)" = "$(stat -c %i ${copy}/hard)" ]`)
    }
  })

  it('npm installs a project', {
    skip: existsSync(join(projectRoot, 'package-lock.json')) ? false : 'no lock file',
  }, async () => {
    await sh(`mkdir npm && cd npm && cp "${projectRoot}/package.json" "${projectRoot}/package-lock.json" "${projectRoot}/.npmrc" . && npm ci --ignore-scripts --omit=dev --omit=optional --no-audit --no-fund >/dev/null 2>&1
      [ -f node_modules/better-sqlite3/package.json ]`)
  })
})
