import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ENOENT } from '../../src/base/errno.ts'
import { ACCESSLOG_INO, CONTROL_INO, type Ino, ROOT_INO } from '../../src/base/ino.ts'
import { silentLog } from '../../src/base/log.ts'
import * as K from '../../src/fuse/constants.ts'
import { FuseServer } from '../../src/fuse/serve.ts'
import { type Attr, TYPE_DIRECTORY, TYPE_FILE } from '../../src/meta/model/attr.ts'
import type { AddEntry, Context, FileSystem } from '../../src/vfs/file-system.ts'
import { args, FakeTransport, INIT_ARGS } from './fake-transport.ts'

const TIME = { sec: 1_795_244_952, nsec: 5 }
const FILE: Attr = {
  type: TYPE_FILE,
  flags: 0,
  mode: 0o644,
  uid: 0,
  gid: 0,
  atime: TIME,
  mtime: TIME,
  ctime: TIME,
  nlink: 1,
  length: 0,
  rdev: 0,
  parent: ROOT_INO,
  accessAcl: 0,
  defaultAcl: 0,
  tier: 0,
}

/** The lines that a request leaves, without time and caller: `what - errno`. */
function tracing(answers: Partial<Record<keyof FileSystem, unknown>>, hasReader = true) {
  const lines: string[] = []
  const transport = new FakeTransport()
  const fs = new Proxy({} as FileSystem, {
    get: (_, method: keyof FileSystem) => {
      if (method === 'timeouts') return { attr: 1, entry: 1, dirEntry: 1, negativeEntry: 0 }
      const answer = answers[method]
      return typeof answer === 'function' ? answer : () => answer
    },
  })
  const server = new FuseServer(transport, fs, {
    maxWrite: 131_072,
    acl: false,
    writebackCache: false,
    asyncDio: false,
    killPrivileges: false,
    log: silentLog,
    accessLog: {
      wants: micros => hasReader || micros > 1e7,
      add: (_ctx, what, errno) => lines.push(`${what} - ${errno}`),
    },
  })
  void server.start()
  transport.ask(K.INIT, 0n, INIT_ARGS)
  return { transport, lines }
}

test('entries are shown with their attributes, as the reference shows them', () => {
  const { transport, lines } = tracing({
    create: { ino: 2 as Ino, attr: FILE, fh: 4, openFlags: 0 },
    mkdir: { ino: 4 as Ino, attr: { ...FILE, type: TYPE_DIRECTORY, mode: 0o755, nlink: 2, length: 4096 } },
    lookup: ENOENT,
    setattr: { ...FILE, length: 100 },
  })
  transport.ask(K.CREATE, 1n, args(0x8041, 0o100644, 0o22, 0, 'big'))
  transport.ask(K.LOOKUP, 1n, args('big'))
  transport.ask(K.MKDIR, 1n, args(0o755, 0o22, 'd'))
  transport.ask(K.SETATTR, 3n, args(0x248, 0, 10n, 100n, 0n, 0n, 0n, 0n, 0, 0, 0, 0, 0, 0, 0, 0))
  const times = '1795244952,1795244952,1795244952'
  assert.deepEqual(lines, [
    `create (1,big,-rw-r--r--:0100644): (2,[-rw-r--r--:0100644,1,0,0,${times},0]) [fh:4] - 0`,
    'lookup (1,big): - 2',
    `mkdir (1,d,?rwxr-xr-x:00755): (4,[drwxr-xr-x:0040755,2,0,0,${times},4096]) - 0`,
    `setattr (3[10],0x248,[size=100]): (3,[-rw-r--r--:0100644,1,0,0,${times},100]) - 0`,
  ])
})

test('data, directories, volume, locks and the rest', () => {
  const { transport, lines } = tracing({
    read: [Buffer.alloc(5), Buffer.alloc(2)],
    open: { fh: 21, openFlags: 0 },
    statfs: { total: 100, available: 60, usedInodes: 5, availableInodes: 7 },
    readdir: (_c: Context, _i: Ino, _f: number, _o: number, _a: boolean, add: AddEntry) => {
      add('x', 2 as Ino, TYPE_FILE, null, 1)
    },
    getxattr: Buffer.from('abc'),
    readlink: 'to',
  })
  transport.ask(K.READ, 2n, args(21n, 0n, 131_072, 0, 0n, 0, 0))
  transport.ask(K.WRITE, 2n, args(21n, 7n, 3, 0, 0n, 0, 0, Buffer.from('abc')))
  transport.ask(K.OPEN, 2n, args(0x8002, 0))
  transport.ask(K.FLUSH, 2n, args(21n, 0, 0, 0xabcdefn))
  transport.ask(K.STATFS, 1n)
  transport.ask(K.READDIRPLUS, 1n, args(9n, 0n, 65_536, 0, 0n, 0, 0))
  transport.ask(K.GETXATTR, 2n, args(10, 0, 'user.x'))
  transport.ask(K.READLINK, 2n)
  transport.ask(K.RENAME2, 1n, args(4n, 1, 0, 'a', 'b'))
  transport.ask(K.SETLKW, 2n, args(9n, 1n, 0n, 9n, 1, 77, 0, 0))
  transport.ask(K.SETLK, 2n, args(9n, 1n, 0n, 9n, 2, 77, 1, 0))
  assert.deepEqual(lines, [
    'read (2,131072,0,21): (7) - 0',
    'write (2,3,7,21) - 0',
    'open (2,0x8002) [fh:21] - 0',
    'flush (2,21,0000000000ABCDEF) - 0',
    'statfs (1): (40,60,5,7) - 0',
    'readdir (1,65536,0,true): (1) - 0',
    'getxattr (2,user.x,10): (3) - 0',
    'readlink (2): (to) - 0',
    'rename (1,a,4,b,1) - 0',
    'setlk (2,9,0000000000000001,0,9,W,true,77) - 0',
    'flock (2,9,0000000000000001,UNLOCK,false) - 0',
  ])
})

test('names with quotes or control characters are escaped, others are shown as UTF-8', () => {
  const { transport, lines } = tracing({ unlink: undefined })
  transport.ask(K.UNLINK, 1n, args('we"ird\nname\x01'))
  transport.ask(K.UNLINK, 1n, args(Buffer.from('ä\\\0')))
  assert.deepEqual(lines, ['unlink (1,we\\"ird\\nname\\x01) - 0', 'unlink (1,ä\\) - 0'])
})

test('the log does not write about itself, nor about looks at the internal files', () => {
  const { transport, lines } = tracing({
    read: [Buffer.from('#\n')],
    getattr: FILE,
    lookup: { ino: CONTROL_INO, attr: FILE },
  })
  transport.ask(K.READ, BigInt(0x7fffffff00000001n), args(1n, 0n, 10, 0, 0n, 0, 0))
  transport.ask(K.GETATTR, 0x7fffffff00000001n, args(0, 0, 0n))
  transport.ask(K.LOOKUP, 1n, args('.control'))
  assert.equal(ACCESSLOG_INO, 2 ** 52 + 1)
  assert.deepEqual(lines, [])
})

test('nothing is put into words while nobody reads', () => {
  const { transport, lines } = tracing({ unlink: undefined }, false)
  transport.ask(K.UNLINK, 1n, args('x'))
  assert.deepEqual(lines, [])
})
