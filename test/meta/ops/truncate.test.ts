import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EACCES, EDQUOT, EFBIG, EINVAL, ENOENT, EPERM, EROFS } from '../../../src/base/errno.ts'
import { type Ino, TRASH_INO } from '../../../src/base/ino.ts'
import { ancestors, node, parents } from '../../../src/meta/facts.ts'
import { type Attr, FLAG_APPEND, FLAG_IMMUTABLE, TYPE_SYMLINK } from '../../../src/meta/model/attr.ts'
import { MAX_FILE_BYTES } from '../../../src/meta/model/slice.ts'
import { truncate } from '../../../src/meta/ops/truncate.ts'
import {
  attrOf,
  type Decision,
  DIR,
  decide,
  FILE,
  NOW,
  OTHER,
  ofKind,
  owner,
  readOnly,
  stranger,
  volume,
  volumeOf,
  type World,
} from './decide.ts'

const MiB = 2 ** 20
const file = (attr: Partial<Attr>): World => [[node(FILE), attrOf(attr)]]
const truncated = (from: number, to: number, stored: number[] = []) => {
  const range = {
    from: Math.floor(Math.min(from, to) / (64 * MiB)) + 1,
    to: Math.floor(Math.max(from, to) / (64 * MiB)),
  }
  return decide(truncate(volume, owner, FILE, to, false), [
    ...file({ length: from }),
    [{ kind: 'chunkIndexes', ino: FILE, ...range }, stored],
  ])
}
const zeros = (decision: Decision<unknown>): string[] =>
  ofKind(decision.changes, 'appendSlices').map(c => {
    const hex = c.records.toString('hex')
    assert.equal(hex.slice(8, 40), '0'.repeat(32), 'id, size and off are 0')
    return `${c.index}: ${hex.slice(0, 8)} ${hex.slice(40)}`
  })

test('truncating writes the documented zero records: 100 → 50 → 70 → 128 Mi + 10 → 30', () => {
  assert.deepEqual(zeros(truncated(100, 50)), ['0: 00000032 00000032'])
  assert.deepEqual(zeros(truncated(50, 70)), ['0: 00000032 00000014'])
  assert.deepEqual(zeros(truncated(70, 128 * MiB + 10)), ['0: 00000046 03ffffba', '2: 00000000 0000000a'])
  assert.deepEqual(zeros(truncated(128 * MiB + 10, 30)), ['0: 0000001e 03ffffe2', '2: 00000000 0000000a'])
})

test('chunks between the ends are zeroed only where they have a list', () => {
  const all = truncated(256 * MiB + 1, 10, [1, 3])
  assert.deepEqual(zeros(all), [
    '0: 0000000a 03fffff6',
    '1: 00000000 04000000',
    '3: 00000000 04000000',
    '4: 00000000 00000001',
  ])
})

test('an end on a chunk border needs no record in the chunk behind it', () => {
  assert.deepEqual(zeros(truncated(64 * MiB, 0)), ['0: 00000000 04000000'])
  assert.deepEqual(zeros(truncated(64 * MiB, 64 * MiB - 1)), ['0: 03ffffff 00000001'])
  assert.deepEqual(zeros(truncated(64 * MiB, 64 * MiB + 1)), ['1: 00000000 00000001'])
  assert.deepEqual(zeros(truncated(128 * MiB, 64 * MiB)), ['1: 00000000 04000000'])
})

test('where too many chunks lie between the ends, the last ones go first, and their space with them', () => {
  const chunk = 64 * MiB
  const stored = Array.from({ length: 1200 }, (_, i) => 2 * i + 1)
  const step = truncated(2500 * chunk, 10, stored)
  const edge = stored[200]! * chunk
  assert.equal(step.value.attr.length, edge)
  assert.equal(step.value.zeroedFrom, edge)
  assert.deepEqual(ofKind(step.changes, 'usage'), [{ kind: 'usage', space: edge - 2500 * chunk, inodes: 0 }])
  const written = ofKind(step.changes, 'appendSlices').map(c => c.index)
  assert.deepEqual(written, stored.slice(200))
})

test('growing over too many chunks zeroes the last ones first and leaves the record as it is', () => {
  const chunk = 64 * MiB
  const stored = Array.from({ length: 1200 }, (_, i) => i + 1)
  const step = truncated(10, 1300 * chunk, stored)
  assert.deepEqual(ofKind(step.changes, 'putNode'), [{ kind: 'putNode', ino: FILE, attr: attrOf({ length: 10 }) }])
  assert.deepEqual(
    ofKind(step.changes, 'appendSlices').map(c => c.index),
    stored.slice(200),
  )
  assert.equal(step.changes.length, 1001, 'nothing is charged yet')
  const range = { kind: 'chunkIndexes', ino: FILE, from: 1, to: 201 } as const
  const last = decide(truncate(volume, owner, FILE, 1300 * chunk, false, step.value.zeroedFrom), [
    ...file({ length: 10 }),
    [range, stored.slice(0, 200)],
  ])
  assert.equal(last.value.attr.length, 1300 * chunk)
  assert.equal(last.value.zeroedFrom, undefined)
})

test('growth that a limit refuses is refused before anything is zeroed', () => {
  const full = volumeOf({}, { refuses: () => EDQUOT })
  const { errno, changes } = decide(truncate(full, owner, FILE, 1300 * 64 * MiB, false), file({ length: 10 }))
  assert.deepEqual([errno, changes], [EDQUOT, []])
})

test('length, mtime and ctime change, and space is charged in whole 4 KiB', () => {
  const { value, changes, trips } = truncated(5000, 4096)
  const attr = attrOf({ length: 4096, mtime: NOW, ctime: NOW })
  assert.deepEqual(value, { attr, before: attrOf({ length: 5000 }) })
  assert.deepEqual(ofKind(changes, 'putNode'), [{ kind: 'putNode', ino: FILE, attr }])
  assert.deepEqual(ofKind(changes, 'usage'), [{ kind: 'usage', space: -4096, inodes: 0 }])
  assert.deepEqual(ofKind(changes, 'dirUsage'), [{ kind: 'dirUsage', ino: DIR, length: -904, space: -4096, inodes: 0 }])
  assert.equal(trips, 1)
})

test('a change inside one 4 KiB unit moves the length of the directory statistics only', () => {
  const { changes } = truncated(100, 200)
  assert.deepEqual(ofKind(changes, 'usage'), [])
  assert.deepEqual(ofKind(changes, 'dirUsage'), [{ kind: 'dirUsage', ino: DIR, length: 100, space: 0, inodes: 0 }])
})

test('a file with several names is charged to every directory, once a name', () => {
  const { changes } = decide(truncate(volume, owner, FILE, 8192, false), [
    ...file({ parent: 0 as Ino, nlink: 3, length: 4096 }),
    [
      parents(FILE),
      [
        { parent: DIR, count: 2 },
        { parent: OTHER, count: 1 },
      ],
    ],
  ])
  assert.deepEqual(ofKind(changes, 'usage'), [{ kind: 'usage', space: 4096, inodes: 0 }])
  assert.deepEqual(ofKind(changes, 'dirUsage'), [
    { kind: 'dirUsage', ino: DIR, length: 8192, space: 8192, inodes: 0 },
    { kind: 'dirUsage', ino: OTHER, length: 4096, space: 4096, inodes: 0 },
  ])
})

test('an unlinked open file is charged to the volume, to no directory', () => {
  const { changes } = decide(truncate(volume, owner, FILE, 8192, true), file({ nlink: 0 }))
  assert.deepEqual(ofKind(changes, 'usage'), [{ kind: 'usage', space: 4096, inodes: 0 }])
  assert.deepEqual(ofKind(changes, 'dirUsage'), [])
})

test('growth is charged to the quotas above, to user and group, and refused by any of them', () => {
  const asked: unknown[] = []
  const limited = volumeOf(
    {},
    { hasDirQuotas: true, userGroup: true, isQuotaDir: ino => ino === 1, refuses: g => void asked.push(g) },
  )
  const world: World = [...file({ length: 1 }), [ancestors(DIR), [DIR, 1 as Ino]]]
  const { changes } = decide(truncate(limited, owner, FILE, 4097, false), world)
  assert.deepEqual(asked, [{ uid: 500, gid: 600, ancestors: [DIR, 1], space: 4096, inodes: 0 }])
  assert.deepEqual(
    ofKind(changes, 'quotaUsage').map(c => [c.type, c.key, c.space, c.inodes]),
    [
      [1, 500, 4096, 0],
      [2, 600, 4096, 0],
      [0, 1, 4096, 0],
    ],
  )
  const full = volumeOf({}, { refuses: () => EDQUOT })
  assert.equal(decide(truncate(full, owner, FILE, 4097, false), world).errno, EDQUOT)
  assert.equal(decide(truncate(full, owner, FILE, 4096, false), world).errno, 0, 'no more space')
})

test('the same length changes the times and nothing else', () => {
  const same = truncated(100, 100)
  assert.deepEqual(
    same.changes.map(change => change.kind),
    ['putNode'],
  )
  const { before, attr } = same.value
  assert.notDeepEqual(attr.mtime, before.mtime)
  assert.deepEqual({ ...attr, mtime: before.mtime, ctime: before.ctime }, before)
})

test('refusals win in this order: EINVAL, EFBIG, EROFS, ENOENT, EPERM, EACCES', () => {
  const errno = (length: number, attr: Partial<Attr> | null, viaHandle = false, v = volume, by = stranger): number =>
    decide(truncate(v, by, FILE, length, viaHandle), attr === null ? [] : file(attr)).errno
  assert.equal(errno(-1, null), EINVAL)
  assert.equal(errno(MAX_FILE_BYTES, null), EFBIG)
  assert.equal(errno(1, null, false, readOnly), EROFS)
  assert.equal(errno(1, null), ENOENT)
  assert.equal(errno(1, { type: TYPE_SYMLINK }), EPERM)
  assert.equal(errno(1, { flags: FLAG_IMMUTABLE }), EPERM)
  assert.equal(errno(1, { flags: FLAG_APPEND }, true), EPERM)
  assert.equal(errno(1, { parent: (TRASH_INO + 1) as Ino }), EPERM)
  assert.equal(errno(1, {}), EACCES)
})

test('a handle open for writing needs neither the mode nor a place outside the trash', () => {
  const trashed = file({ mode: 0o400, parent: (TRASH_INO + 1) as Ino })
  assert.equal(decide(truncate(volume, stranger, FILE, 1, true), trashed).errno, 0)
})

test('an access rule decides for callers that are checked here', () => {
  const rule = { owner: 6, group: 4, mask: 6, other: 4, namedUsers: [{ id: 501, perm: 6 }], namedGroups: [] }
  const world: World = [...file({ mode: 0o664, accessAcl: 9 }), [{ kind: 'aclRule', id: 9 }, rule]]
  assert.equal(decide(truncate(volume, stranger, FILE, 1, false), world).errno, 0)
})
