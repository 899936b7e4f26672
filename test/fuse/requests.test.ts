/** Every request of the kernel, byte by byte: how it is read, what the file system is asked, how the answer is written. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { EFBIG, ENOENT, ENOSYS, ERANGE } from '../../src/base/errno.ts'
import { type Ino, TRASH_INO } from '../../src/base/ino.ts'
import * as K from '../../src/fuse/constants.ts'
import { TYPE_CHAR, TYPE_DIRECTORY, TYPE_FILE } from '../../src/meta/model/attr.ts'
import type { AddEntry, Context } from '../../src/vfs/file-system.ts'
import { args } from './fake-transport.ts'
import { ATTR, ENTRY, LAST, later, lockArgs, serving } from './scripted-server.ts'

const ATTR_BYTES = args(
  77n,
  BigInt(2 ** 40 + 513),
  BigInt(2 ** 31 + 2),
  1_700_000_001n,
  -2n,
  BigInt(2 ** 33 + 5),
  1,
  999_999_999,
  3,
  0o104755,
  2,
  1001,
  1002,
  0x801,
  65536,
  0,
)
const ENTRY_BYTES = args(77n, 1n, 2n, 1n, 0, 500_000_000, ATTR_BYTES)
const OPEN_BYTES = args(9n, 5, 0)
const noReply = Buffer.alloc(0)

/** opcode, arguments, method and what it must be given, its answer, the payload of the reply */
const CASES: readonly [title: string, opcode: number, Buffer, string, unknown[], unknown, Buffer][] = [
  ['LOOKUP', K.LOOKUP, args('na\xffme'), 'lookup', [5, 'na\xffme'], ENTRY, ENTRY_BYTES],
  [
    'GETATTR without a handle',
    K.GETATTR,
    args(0, 0, 9n),
    'getattr',
    [5, null],
    ATTR,
    args(1n, 500_000_000, 0, args(5n), ATTR_BYTES.subarray(8)),
  ],
  [
    'GETATTR of a handle',
    K.GETATTR,
    args(1, 0, 9n),
    'getattr',
    [5, 9],
    ATTR,
    args(1n, 500_000_000, 0, args(5n), ATTR_BYTES.subarray(8)),
  ],
  [
    'SETATTR of everything',
    K.SETATTR,
    args(0x7f, 0, 9n, 123n, 0n, -7n, 8n, 0n, 11, 12, 0, 0o100644, 0, 1, 2, 0),
    'setattr',
    [5, { mode: 0o644, uid: 1, gid: 2, size: 123, atime: { sec: -7, nsec: 11 }, mtime: { sec: 8, nsec: 12 } }, 9],
    ATTR,
    args(1n, 500_000_000, 0, args(5n), ATTR_BYTES.subarray(8)),
  ],
  [
    'SETATTR to the present time',
    K.SETATTR,
    args(0x1b0, 0, 0n, 0n, 0n, 0n, 0n, 0n, 0, 0, 0, 0, 0, 0, 0, 0),
    'setattr',
    [5, { atime: 'now', mtime: 'now' }, null],
    ATTR,
    args(1n, 500_000_000, 0, args(5n), ATTR_BYTES.subarray(8)),
  ],
  ['READLINK', K.READLINK, noReply, 'readlink', [5], '../\xe9', Buffer.from('../\xe9', 'latin1')],
  ['SYMLINK', K.SYMLINK, args('name', 'to/there'), 'symlink', [5, 'name', 'to/there'], ENTRY, ENTRY_BYTES],
  [
    'MKNOD',
    K.MKNOD,
    args(0o20644, 0x103, 0o22, 0, 'null'),
    'mknod',
    [5, 'null', 0o20644, 0o22, 0x103],
    ENTRY,
    ENTRY_BYTES,
  ],
  ['MKDIR', K.MKDIR, args(0o40755, 0o22, 'dir'), 'mkdir', [5, 'dir', 0o755, 0o22], ENTRY, ENTRY_BYTES],
  ['UNLINK', K.UNLINK, args('gone'), 'unlink', [5, 'gone'], undefined, noReply],
  ['RMDIR', K.RMDIR, args('gone'), 'rmdir', [5, 'gone'], undefined, noReply],
  ['RENAME', K.RENAME, args(6n, 'old', 'new'), 'rename', [5, 'old', 6, 'new', 0], undefined, noReply],
  ['RENAME2', K.RENAME2, args(6n, 2, 0, 'old', 'new'), 'rename', [5, 'old', 6, 'new', 2], undefined, noReply],
  ['LINK', K.LINK, args(6n, 'new'), 'link', [6, 5, 'new'], ENTRY, ENTRY_BYTES],
  ['OPEN', K.OPEN, args(0x8002, 0), 'open', [5, 0x8002], { fh: 9, openFlags: 5 }, OPEN_BYTES],
  [
    'READ',
    K.READ,
    args(9n, 4096n, 8192, 0, 0n, 0, 0),
    'read',
    [5, 9, 4096, 8192],
    [Buffer.from('ab'), Buffer.from('cd')],
    Buffer.from('abcd'),
  ],
  ['READ behind every end', K.READ, args(9n, 1n << 53n, 8192, 0, 0n, 0, 0), '', [], [], noReply],
  [
    'WRITE',
    K.WRITE,
    args(9n, 4097n, 3, 0, 0n, 0x401, 0, Buffer.from('xyz')),
    'write',
    [5, 9, 4097, 'xyz', 0x401],
    undefined,
    args(3, 0),
  ],
  [
    'STATFS',
    K.STATFS,
    noReply,
    'statfs',
    [5],
    { total: 8192, available: 4097, usedInodes: 3, availableInodes: 4 },
    args(2n, 1n, 1n, 7n, 4n, 4096, 255, 4096, 0, ...new Array<number>(6).fill(0)),
  ],
  ['RELEASE', K.RELEASE, args(9n, 0, 0, 0x10n), 'release', [5, 9, null], undefined, noReply],
  [
    'RELEASE of a flock',
    K.RELEASE,
    args(9n, 0, 2, 0xfedcba9876543210n),
    'release',
    [5, 9, 'fedcba9876543210'],
    undefined,
    noReply,
  ],
  ['FSYNC', K.FSYNC, args(9n, 0, 0), 'fsync', [5, 9, false], undefined, noReply],
  ['FSYNC of data', K.FSYNC, args(9n, 1, 0), 'fsync', [5, 9, true], undefined, noReply],
  [
    'SETXATTR',
    K.SETXATTR,
    args(3, 2, 0, 0, 'user.x', Buffer.from('a\0b')),
    'setxattr',
    [5, 'user.x', 'a\0b', 2],
    undefined,
    noReply,
  ],
  [
    'GETXATTR',
    K.GETXATTR,
    args(10, 0, 'user.x'),
    'getxattr',
    [5, 'user.x'],
    Buffer.from('value'),
    Buffer.from('value'),
  ],
  [
    'GETXATTR for the length',
    K.GETXATTR,
    args(0, 0, 'user.x'),
    'getxattr',
    [5, 'user.x'],
    Buffer.from('value'),
    args(5, 0),
  ],
  ['LISTXATTR', K.LISTXATTR, args(100, 0), 'listxattr', [5], ['user.x', 'user.y'], Buffer.from('user.x\0user.y\0')],
  ['REMOVEXATTR', K.REMOVEXATTR, args('user.x'), 'removexattr', [5, 'user.x'], undefined, noReply],
  ['FLUSH', K.FLUSH, args(9n, 0, 0, 0x1fn), 'flush', [5, 9, '000000000000001f'], undefined, noReply],
  ['OPENDIR', K.OPENDIR, args(0, 0), 'opendir', [5, 0], { fh: 9, openFlags: 5 }, OPEN_BYTES],
  ['RELEASEDIR', K.RELEASEDIR, args(9n, 0, 0, 0n), 'releasedir', [5, 9], undefined, noReply],
  ['FSYNCDIR', K.FSYNCDIR, args(9n, 1, 0), 'fsyncdir', [5, 9, true], undefined, noReply],
  [
    'GETLK of a free range',
    K.GETLK,
    lockArgs(0n, LAST, 1),
    'getlk',
    [5, 9, '0123456789abcdef', { type: 'W', start: 0, end: Number.MAX_SAFE_INTEGER, pid: 55 }],
    { type: 'U', start: 0, end: Number.MAX_SAFE_INTEGER, pid: 0 },
    args(0n, LAST, 2, 0),
  ],
  [
    'SETLK',
    K.SETLK,
    lockArgs(10n, 19n, 0),
    'setlk',
    [5, 9, '0123456789abcdef', { type: 'R', start: 10, end: 19, pid: 55 }, false, false],
    undefined,
    noReply,
  ],
  [
    'SETLKW of a flock',
    K.SETLKW,
    lockArgs(0n, LAST, 1, 1),
    'setlk',
    [5, 9, '0123456789abcdef', { type: 'W', start: 0, end: Number.MAX_SAFE_INTEGER, pid: 55 }, true, true],
    undefined,
    noReply,
  ],
  ['ACCESS', K.ACCESS, args(4, 0), 'access', [5, 4], undefined, noReply],
  [
    'CREATE',
    K.CREATE,
    args(0x8042, 0o100640, 0o27, 0, 'new'),
    'create',
    [5, 'new', 0o640, 0o27, 0x8042],
    { ...ENTRY, fh: 9, openFlags: 5 },
    Buffer.concat([ENTRY_BYTES, OPEN_BYTES]),
  ],
  [
    'TMPFILE',
    K.TMPFILE,
    args(0x8042, 0o100640, 0o27, 0, '/'),
    'tmpfile',
    [5, 0o640, 0o27, 0x8042],
    { ...ENTRY, fh: 9, openFlags: 5 },
    Buffer.concat([ENTRY_BYTES, OPEN_BYTES]),
  ],
  [
    'IOCTL',
    K.IOCTL,
    args(9n, 0, 0x40086602, 0n, 4, 8, Buffer.from('abcd')),
    'ioctl',
    [5, 9, 0x40086602, 'abcd', 8],
    Buffer.from('12345678'),
    args(0, 0, 0, 0, Buffer.from('12345678')),
  ],
  ['FALLOCATE', K.FALLOCATE, args(9n, 10n, 20n, 1, 0), 'fallocate', [5, 9, 1, 10, 20], undefined, noReply],
  ['LSEEK', K.LSEEK, args(9n, 10n, 3, 0), 'lseek', [5, 9, 10, 3], { offset: 2 ** 40 }, args(BigInt(2 ** 40))],
  [
    'COPY_FILE_RANGE',
    K.COPY_FILE_RANGE,
    args(9n, 10n, 6n, 8n, 20n, 30n, 0n),
    'copyFileRange',
    [{ ino: 5, fh: 9, offset: 10 }, { ino: 6, fh: 8, offset: 20 }, 30, 0],
    { copied: 30 },
    args(30, 0),
  ],
  [
    'COPY_FILE_RANGE of as much as there is',
    K.COPY_FILE_RANGE_64,
    args(9n, 10n, 6n, 8n, 20n, LAST, 0n),
    'copyFileRange',
    [{ ino: 5, fh: 9, offset: 10 }, { ino: 6, fh: 8, offset: 20 }, 0x7ffff000, 0],
    { copied: 31 },
    args(31n),
  ],
]

describe('every request is read and answered as the kernel spells it', () => {
  for (const [title, opcode, given, method, expected, answer, payload] of CASES) {
    for (const isLater of [false, true]) {
      test(`${title}, answered ${isLater ? 'later' : 'at once'}`, async () => {
        const { transport, asked } = serving(
          method === '' ? {} : { [method]: isLater ? () => later().then(() => answer) : answer },
        )
        const unique = transport.send(opcode, 5n, given)
        if (isLater && method !== '') {
          assert.equal(transport.replies.length, 0)
          await later()
          await later()
        }
        assert.deepEqual(asked, method === '' ? [] : [{ method, given: expected }])
        assert.deepEqual(transport.replies, [{ unique, errno: 0, payload }])
        assert.equal(transport.heldCount, 0)
      })
    }
  }
})

describe('directory entries', () => {
  const names: [string, Ino, number][] = [
    ['.', 5 as Ino, TYPE_DIRECTORY],
    ['a', 6 as Ino, TYPE_FILE],
    ['eight888', 7 as Ino, TYPE_CHAR],
  ]
  const readdir = (_ctx: Context, _ino: Ino, _fh: number, offset: number, attrs: boolean, add: AddEntry): undefined => {
    for (let i = offset; i < names.length; i++) if (!add(...names[i]!, attrs ? ATTR : null, i + 1)) return
  }
  const dirent = (ino: bigint, next: bigint, type: number, name: string): Buffer =>
    args(ino, next, name.length, type, Buffer.from(name.padEnd((name.length + 7) & ~7, '\0')))

  test('READDIR packs them, padded to eight bytes', () => {
    const { transport } = serving({ readdir })
    const { payload } = transport.ask(K.READDIR, 5n, args(9n, 0n, 4096, 0, 0n, 0, 0))
    assert.deepEqual(
      payload,
      Buffer.concat([dirent(5n, 1n, 4, '.'), dirent(6n, 2n, 8, 'a'), dirent(7n, 3n, 2, 'eight888')]),
    )
  })
  test('a page ends before the entry that does not fit, and the next one begins there', () => {
    const { transport } = serving({ readdir })
    const first = transport.ask(K.READDIR, 5n, args(9n, 0n, 64 + 31, 0, 0n, 0, 0))
    assert.deepEqual(first.payload, Buffer.concat([dirent(5n, 1n, 4, '.'), dirent(6n, 2n, 8, 'a')]))
    const second = transport.ask(K.READDIR, 5n, args(9n, 2n, 64, 0, 0n, 0, 0))
    assert.deepEqual(second.payload, dirent(7n, 3n, 2, 'eight888'))
    assert.equal(transport.ask(K.READDIR, 5n, args(9n, 3n, 64, 0, 0n, 0, 0)).payload.length, 0)
  })
  test('READDIRPLUS puts attributes before each name but "."', () => {
    const { transport } = serving({ readdir })
    const { payload } = transport.ask(K.READDIRPLUS, 5n, args(9n, 0n, 4096, 0, 0n, 0, 0))
    assert.deepEqual(payload.subarray(0, 160), Buffer.concat([Buffer.alloc(128), dirent(5n, 1n, 4, '.')]))
    assert.equal(payload.readBigUInt64LE(160), 6n)
    assert.equal(payload.readBigUInt64LE(160 + 40), 6n)
    assert.equal(payload.length, 160 + 160 + 160)
  })
  test('bytes of an earlier, longer name do not show behind a shorter one', () => {
    const { transport } = serving({
      readdir: (_c: Context, _i: Ino, _f: number, offset: number, _a: boolean, add: AddEntry) => {
        add(offset === 0 ? 'secret-name' : 'x', 6 as Ino, TYPE_FILE, null, 1)
      },
    })
    transport.ask(K.READDIR, 5n, args(9n, 0n, 4096, 0, 0n, 0, 0))
    const { payload } = transport.ask(K.READDIR, 5n, args(9n, 1n, 4096, 0, 0n, 0, 0))
    assert.deepEqual(payload, dirent(6n, 1n, 8, 'x'))
  })
})

describe('what is refused at the edge', () => {
  test('offsets and sizes from 2^53 on are EFBIG and reach nobody', () => {
    const { transport, asked } = serving({})
    const far = 1n << 53n
    for (const [opcode, given] of [
      [K.WRITE, args(9n, far, 1, 0, 0n, 0, 0, Buffer.from('x'))],
      [K.WRITE, args(9n, far - 1n, 1, 0, 0n, 0, 0, Buffer.from('x'))],
      [K.SETATTR, args(8, 0, 0n, far, 0n, 0n, 0n, 0n, 0, 0, 0, 0, 0, 0, 0, 0)],
      [K.FALLOCATE, args(9n, far, 1n, 0, 0)],
      [K.FALLOCATE, args(9n, 1n, far - 1n, 0, 0)],
      [K.COPY_FILE_RANGE, args(9n, 0n, 6n, 8n, far, 1n, 0n)],
    ] as const)
      assert.equal(transport.ask(opcode, 5n, given).errno, EFBIG)
    assert.deepEqual(asked, [])
  })
  test('a value longer than the room for it is ERANGE', () => {
    const { transport } = serving({ getxattr: Buffer.from('value'), listxattr: ['user.x'] })
    assert.equal(transport.ask(K.GETXATTR, 5n, args(4, 0, 'user.x')).errno, ERANGE)
    assert.equal(transport.ask(K.LISTXATTR, 5n, args(6, 0)).errno, ERANGE)
  })
  test('requests that are not offered are ENOSYS', () => {
    const { transport } = serving({})
    for (const opcode of [K.STATX, K.SYNCFS, K.POLL, K.BMAP, 4000])
      assert.equal(transport.ask(opcode, 5n, Buffer.alloc(64)).errno, ENOSYS)
  })
})

test('inodes of the trash cross the edge in both directions', () => {
  const { transport, asked } = serving({ lookup: { ino: TRASH_INO, attr: { ...ATTR, type: TYPE_DIRECTORY } } })
  const { payload } = transport.ask(K.LOOKUP, 0x7fffffff10000000n, args('2026'))
  assert.deepEqual(asked[0]!.given, [TRASH_INO, '2026'])
  assert.equal(payload.readBigUInt64LE(0), 0x7fffffff10000000n)
})

test("directories have a life time of their own, and the client's own files an hour", () => {
  const directory = serving({ lookup: { ino: 5 as Ino, attr: { ...ATTR, type: TYPE_DIRECTORY } } })
  assert.equal(directory.transport.ask(K.LOOKUP, 1n, args('d')).payload.readBigUInt64LE(16), 3n)
  const own = serving({ lookup: { ino: (2 ** 52 + 2) as Ino, attr: ATTR } })
  const { payload } = own.transport.ask(K.LOOKUP, 1n, args('.control'))
  assert.equal(payload.readBigUInt64LE(16), 3600n)
  assert.equal(payload.readBigUInt64LE(24), 3600n)
})

test('a name that does not exist is remembered by the kernel only when negative entries have a life time', () => {
  assert.equal(serving({ lookup: ENOENT }).transport.ask(K.LOOKUP, 1n, args('x')).errno, ENOENT)
  const remembering = serving({ lookup: ENOENT }, {}, { attr: 1, entry: 1, dirEntry: 1, negativeEntry: 4.25 })
  const { errno, payload } = remembering.transport.ask(K.LOOKUP, 1n, args('x'))
  assert.equal(errno, 0)
  assert.equal(payload.length, 128)
  assert.equal(payload.readBigUInt64LE(0), 0n)
  assert.equal(payload.readBigUInt64LE(16), 4n)
  assert.equal(payload.readUInt32LE(32), 250_000_000)
})

test('FORGET, BATCH_FORGET have no reply', () => {
  const { transport } = serving({})
  transport.replies.length = 0
  transport.send(K.FORGET, 5n, args(1n))
  transport.send(K.BATCH_FORGET, 0n, args(1, 0, 5n, 1n))
  assert.deepEqual(transport.replies, [])
})
