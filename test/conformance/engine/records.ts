/** Every record comes back as it was written. */

import assert from 'node:assert/strict'
import { NO_INO, ROOT_INO, TRASH_INO } from '../../../src/base/ino.ts'
import {
  ancestors,
  chunk,
  counter,
  dentry,
  node,
  parents,
  QUOTA_DIR,
  QUOTA_USER,
  xattr,
} from '../../../src/meta/facts.ts'
import type { AclRule } from '../../../src/meta/model/acl.ts'
import { encodeRecords } from '../../../src/meta/model/slice.ts'
import { type Claim, directory, type EngineLimits, file, inoOf } from './harness.ts'

const FIVE = inoOf(5)
const record = (id: number, pos = 0) => encodeRecords([{ pos, id, size: 100, off: 0, len: 100 }])

export function recordClaims(claim: Claim, limits: EngineLimits): void {
  nodeClaims(claim, limits)
  dataClaims(claim)
  stateClaims(claim)
  accountClaims(claim)
}

function nodeClaims(claim: Claim, { largestId, xattrNamesAreText }: EngineLimits): void {
  claim('what is not stored reads as absent', async bench => {
    const nine = inoOf(9)
    const reads = [
      [node(nine), null],
      [dentry(ROOT_INO, 'none'), null],
      [dentry(nine, 'none', true), null],
      [chunk(nine, 0), null],
      [{ kind: 'chunkIndexes', ino: nine, from: 0, to: 10 }, []],
      [{ kind: 'symlink', ino: nine }, null],
      [xattr(nine, 'user.a'), null],
      [{ kind: 'xattrNames', ino: nine }, []],
      [{ kind: 'flocks', ino: nine }, []],
      [{ kind: 'plocks', ino: nine }, []],
      [parents(nine), []],
      [ancestors(nine), []],
      [{ kind: 'aclRule', id: 7 }, null],
      [{ kind: 'sustained', sid: 1, ino: nine }, false],
      [{ kind: 'deadFile', ino: nine }, null],
      [{ kind: 'trashedSlices', id: 7, at: 7 }, null],
      [{ kind: 'dirUsage', ino: nine }, null],
      [{ kind: 'quota', type: QUOTA_DIR, key: 9 }, null],
      [counter('lastCleanupTrash'), 0],
      [{ kind: 'session', sid: 9 }, null],
    ] as const
    const facts = await bench.engine.gather(
      reads.map(([read]) => read),
      'look',
    )
    assert.deepEqual(
      facts,
      reads.map(([, fact]) => fact),
    )
  })

  claim('a node comes back exactly, at the ends of every field too', async bench => {
    const all = [
      file(),
      directory({ flags: 0x21, nlink: 4000, defaultAcl: 7 }),
      file({
        mode: 0o7777,
        uid: largestId,
        gid: largestId - 1,
        length: 2 ** 52 + 1,
        nlink: 2 ** 31 - 1,
        accessAcl: 3,
        tier: 2,
        parent: NO_INO,
      }),
      file({ type: 5, rdev: largestId, parent: inoOf(TRASH_INO + 7) }),
      file({
        atime: { sec: -1, nsec: 999_999_999 },
        mtime: { sec: 1_795_244_945, nsec: 713_964_138 },
        ctime: { sec: 253_402_300_799, nsec: 1 },
      }),
    ]
    const inos = [5, 6, 2 ** 40, TRASH_INO, TRASH_INO + 9].map(inoOf)
    await bench.write(...all.map((attr, i) => ({ kind: 'putNode', ino: inos[i]!, attr }) as const))
    for (const [i, attr] of all.entries()) assert.deepEqual(await bench.read(node(inos[i]!)), attr)
    await bench.write({ kind: 'delNode', ino: FIVE })
    assert.equal(await bench.read(node(FIVE)), null)
  })

  claim('an entry brings the attributes of its target, and whether that is empty where it was asked', async bench => {
    const [dir, attr] = [directory({ mode: 0o700 }), file({ length: 3 })]
    await bench.write(
      { kind: 'putNode', ino: FIVE, attr: dir },
      { kind: 'setDentry', parent: ROOT_INO, name: 'd', ino: FIVE, type: 2 },
      { kind: 'setDentry', parent: ROOT_INO, name: 'gone', ino: inoOf(77), type: 1 },
    )
    assert.deepEqual(await bench.read(dentry(ROOT_INO, 'd')), { ino: FIVE, type: 2, attr: dir })
    assert.deepEqual(await bench.read(dentry(ROOT_INO, 'd', true)), { ino: FIVE, type: 2, attr: dir, empty: true })
    assert.deepEqual(await bench.read(dentry(ROOT_INO, 'gone')), { ino: 77, type: 1, attr: null })
    await bench.write(
      { kind: 'putNode', ino: inoOf(6), attr },
      { kind: 'setDentry', parent: FIVE, name: 'f', ino: inoOf(6), type: 1 },
    )
    assert.equal((await bench.read(dentry(ROOT_INO, 'd', true)))?.empty, false)
    assert.deepEqual(await bench.read(dentry(FIVE, 'f')), { ino: 6, type: 1, attr })
    await bench.write({ kind: 'delDentry', parent: FIVE, name: 'f' })
    assert.equal((await bench.read(dentry(ROOT_INO, 'd', true)))?.empty, true)
  })

  claim('a name is any bytes: case, length 255, quotes, wildcards and what is no UTF-8 stay apart', async bench => {
    const names = [
      'a',
      'A',
      'x'.repeat(255),
      "it's",
      '%_*?[',
      '\xff\xfe',
      '\xc3\xa9',
      'e\xcc\x81',
      ' ',
      '\n',
      '-1',
      '0',
      '00',
    ]
    await bench.write(
      ...names.map((name, i) => ({ kind: 'setDentry', parent: ROOT_INO, name, ino: inoOf(10 + i), type: 1 }) as const),
    )
    for (const [i, name] of names.entries()) {
      assert.equal((await bench.read(dentry(ROOT_INO, name)))?.ino, 10 + i, JSON.stringify(name))
    }
    const listed = await bench.scan('entries', { parent: ROOT_INO, attrs: false }, 4)
    assert.deepEqual(listed.map(entry => entry.name).sort(), [...names].sort())
  })

  claim('the directories that have names of a node are counted', async bench => {
    const name = (parent: number, name: string) =>
      [
        { kind: 'setDentry', parent: inoOf(parent), name, ino: FIVE, type: 1 },
        { kind: 'linkParent', ino: FIVE, parent: inoOf(parent), delta: 1 },
      ] as const
    await bench.write({ kind: 'putNode', ino: FIVE, attr: file({ parent: NO_INO, nlink: 3 }) })
    await bench.write(...name(1, 'a'))
    await bench.write(...name(1, 'b'))
    await bench.write(...name(TRASH_INO + 3, '1-5-c'))
    const counts = [...(await bench.read(parents(FIVE)))].sort((a, b) => a.parent - b.parent)
    assert.deepEqual(counts, [
      { parent: 1, count: 2 },
      { parent: TRASH_INO + 3, count: 1 },
    ])
    await bench.write(
      { kind: 'delDentry', parent: ROOT_INO, name: 'a' },
      { kind: 'linkParent', ino: FIVE, parent: ROOT_INO, delta: -1 },
    )
    await bench.write(
      { kind: 'delDentry', parent: ROOT_INO, name: 'b' },
      { kind: 'linkParent', ino: FIVE, parent: ROOT_INO, delta: -1 },
    )
    assert.deepEqual(await bench.read(parents(FIVE)), [{ parent: TRASH_INO + 3, count: 1 }])
  })

  claim(
    'ancestors are the directory, its parent, and so on up to the root, or to where the chain breaks',
    async bench => {
      const put = (ino: number, parent: number) =>
        bench.write({ kind: 'putNode', ino: inoOf(ino), attr: directory({ parent: inoOf(parent) }) })
      await put(2, 1)
      await put(3, 2)
      await put(4, 3)
      await put(8, 7)
      assert.deepEqual(await bench.read(ancestors(inoOf(4))), [4, 3, 2, 1])
      assert.deepEqual(await bench.read(ancestors(ROOT_INO)), [1])
      assert.deepEqual(await bench.read(ancestors(inoOf(8))), [8])
    },
  )

  claim('a symlink target is kept raw', async bench => {
    const target = `${'\xff'.repeat(100)}/..\n`
    await bench.write({ kind: 'putSymlink', ino: FIVE, target })
    assert.equal(await bench.read({ kind: 'symlink', ino: FIVE }), target)
    await bench.write({ kind: 'delSymlink', ino: FIVE })
    assert.equal(await bench.read({ kind: 'symlink', ino: FIVE }), null)
  })

  claim('xattrs are any bytes under any name, and all go at once', async bench => {
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i))
    const other = xattrNamesAreText ? 'user.\xc3\xa9' : 'user.\xff'
    const names = ['user.a', other, 'User.A']
    for (const name of names) await bench.write({ kind: 'putXattr', ino: FIVE, name, value: bytes })
    await bench.write({ kind: 'putXattr', ino: FIVE, name: 'user.a', value: Buffer.alloc(0) })
    assert.deepEqual(await bench.read(xattr(FIVE, 'user.a')), Buffer.alloc(0))
    assert.deepEqual(await bench.read(xattr(FIVE, other)), bytes)
    assert.deepEqual([...(await bench.read({ kind: 'xattrNames', ino: FIVE }))].sort(), [...names].sort())
    await bench.write({ kind: 'delXattr', ino: FIVE, name: 'user.a' })
    assert.equal(await bench.read(xattr(FIVE, 'user.a')), null)
    await bench.write({ kind: 'delXattrs', ino: FIVE })
    assert.deepEqual(await bench.read({ kind: 'xattrNames', ino: FIVE }), [])
  })

  claim('equal ACL rules share an id, others do not, and a rule comes back in its order', async bench => {
    const rule: AclRule = {
      owner: 6,
      group: 4,
      mask: 7,
      other: 4,
      namedUsers: [
        { id: 1000, perm: 7 },
        { id: 5, perm: 0 },
      ],
      namedGroups: [{ id: 2 ** 32 - 2, perm: 5 }],
    }
    const ask = async (wanted: AclRule) =>
      (await bench.engine.gather([{ kind: 'aclId', rule: wanted }], 'change'))[0] as number
    const id = await ask(rule)
    assert.ok(id >= 1)
    assert.equal(await ask(structuredClone(rule)), id)
    const other = await ask({ ...rule, namedUsers: [...rule.namedUsers].reverse() })
    assert.notEqual(other, id)
    assert.notEqual(await ask({ ...rule, mask: 0xffff }), id)
    assert.deepEqual(await bench.read({ kind: 'aclRule', id }), rule)
  })
}

function dataClaims(claim: Claim): void {
  claim('records are appended to a chunk, and the number of them is the result', async bench => {
    const append = (index: number, records: Buffer) => bench.write({ kind: 'appendSlices', ino: FIVE, index, records })
    assert.deepEqual(await append(0, record(1)), [1])
    assert.deepEqual(await append(0, Buffer.concat([record(2), record(3)])), [3])
    assert.deepEqual(await append(2 ** 31 - 1, record(256)), [1])
    await append(7, record(4))
    assert.deepEqual(await bench.read(chunk(FIVE, 0)), Buffer.concat([record(1), record(2), record(3)]))
    assert.deepEqual(await bench.read({ kind: 'chunkIndexes', ino: FIVE, from: 0, to: 2 ** 31 }), [0, 7, 2 ** 31 - 1])
    assert.deepEqual(await bench.read({ kind: 'chunkIndexes', ino: FIVE, from: 1, to: 7 }), [])
    await bench.write({ kind: 'delChunk', ino: FIVE, index: 7 })
    assert.equal(await bench.read(chunk(FIVE, 7)), null)
  })

  claim('a list is replaced only as far as it is known, and only while it begins so', async bench => {
    const before = Buffer.concat([record(1), record(2)])
    await bench.write({ kind: 'appendSlices', ino: FIVE, index: 0, records: before })
    await bench.write({ kind: 'appendSlices', ino: FIVE, index: 0, records: record(3) })
    const replace = { kind: 'replaceSlices', ino: FIVE, index: 0, prefix: before, records: record(9) } as const
    assert.equal((await bench.commit([], replace)).done, true)
    assert.deepEqual(await bench.read(chunk(FIVE, 0)), Buffer.concat([record(9), record(3)]))
    assert.equal((await bench.commit([], replace)).done, false)
    assert.equal((await bench.commit([], { ...replace, index: 1 })).done, false)
    assert.deepEqual(await bench.read(chunk(FIVE, 0)), Buffer.concat([record(9), record(3)]))
  })

  claim('references of a slice are added up, and what is left is the result', async bench => {
    const slice = { id: 2 ** 40, size: 4 << 20 }
    await bench.write({ kind: 'newSlice', ...slice, refs: 1 })
    assert.deepEqual(await bench.write({ kind: 'refSlice', ...slice, delta: 2 }), [3])
    assert.deepEqual(await bench.write({ kind: 'refSlice', ...slice, delta: -3 }), [0])
    assert.equal(await bench.read({ kind: 'sliceRefs', ...slice }), 0)
    assert.deepEqual(await bench.scan('unusedSlices', {}), [slice])
    await bench.write({ kind: 'delSliceRefs', ...slice })
    assert.deepEqual(await bench.scan('unusedSlices', {}), [])
  })

  claim('a removed file is recorded until its data is gone', async bench => {
    await bench.write({ kind: 'deadFile', ino: FIVE, length: 2 ** 40, at: 1000 })
    assert.deepEqual(await bench.read({ kind: 'deadFile', ino: FIVE }), { length: 2 ** 40, at: 1000 })
    assert.deepEqual(await bench.scan('deadFiles', { before: 1001 }), [{ ino: 5, length: 2 ** 40, at: 1000 }])
    assert.deepEqual(await bench.scan('deadFiles', { before: 1000 }), [])
    await bench.write({ kind: 'delDeadFile', ino: FIVE })
    assert.equal(await bench.read({ kind: 'deadFile', ino: FIVE }), null)
  })

  claim('replaced slices are kept under their id and time', async bench => {
    const items = Buffer.from('000000000000000a000003e8', 'hex')
    await bench.write({ kind: 'trashSlices', id: 18, at: 1000, items })
    assert.deepEqual(await bench.read({ kind: 'trashedSlices', id: 18, at: 1000 }), items)
    assert.deepEqual(await bench.scan('trashedSlices', { before: 1001 }), [{ id: 18, at: 1000, items }])
    assert.deepEqual(await bench.scan('trashedSlices', { before: 1000 }), [])
    await bench.write({ kind: 'delTrashedSlices', id: 18, at: 1000 })
    assert.equal(await bench.read({ kind: 'trashedSlices', id: 18, at: 1000 }), null)
  })
}

function stateClaims(claim: Claim): void {
  const owner = 'ffffffffffffff01'

  claim('a session is renewed without its info, and takes its locks with it', async bench => {
    const info = Buffer.from('{"Version":"1.4.1"}')
    await bench.write({ kind: 'putSession', sid: 3, expire: 100, info })
    await bench.write({ kind: 'putSession', sid: 3, expire: 200, info: null })
    assert.deepEqual(await bench.read({ kind: 'session', sid: 3 }), { expire: 200, info })
    await bench.write({ kind: 'putFlock', ino: FIVE, sid: 3, owner, type: 'W' })
    await bench.write({ kind: 'putPlock', ino: FIVE, sid: 3, owner, records: Buffer.alloc(24, 1) })
    await bench.write({ kind: 'putFlock', ino: FIVE, sid: 4, owner, type: 'R' })
    await bench.write({ kind: 'delSession', sid: 3 })
    assert.equal(await bench.read({ kind: 'session', sid: 3 }), null)
    assert.deepEqual(await bench.read({ kind: 'flocks', ino: FIVE }), [{ sid: 4, owner, type: 'R' }])
    assert.deepEqual(await bench.read({ kind: 'plocks', ino: FIVE }), [])
  })

  claim('flocks belong to a session and an owner, change their mode, and end', async bench => {
    const zero = '0000000000000000'
    await bench.write({ kind: 'putFlock', ino: FIVE, sid: 1, owner, type: 'R' })
    await bench.write({ kind: 'putFlock', ino: FIVE, sid: 1, owner: zero, type: 'R' })
    await bench.write({ kind: 'putFlock', ino: FIVE, sid: 1, owner, type: 'W' })
    const held = [...(await bench.read({ kind: 'flocks', ino: FIVE }))].sort((a, b) => (a.owner < b.owner ? -1 : 1))
    assert.deepEqual(held, [
      { sid: 1, owner: zero, type: 'R' },
      { sid: 1, owner, type: 'W' },
    ])
    assert.equal((await bench.scan('flocksOf', { sid: 1 }, 1)).length, 2)
    await bench.write({ kind: 'putFlock', ino: FIVE, sid: 1, owner, type: null })
    assert.deepEqual(await bench.read({ kind: 'flocks', ino: FIVE }), [{ sid: 1, owner: zero, type: 'R' }])
  })

  claim('record locks keep their bytes', async bench => {
    const records = Buffer.from(
      '00000001000055ae000000000000000a000000000000006d00000000000055ae00000000000001f47fffffffffffffff',
      'hex',
    )
    await bench.write({ kind: 'putPlock', ino: FIVE, sid: 1, owner, records })
    assert.deepEqual(await bench.read({ kind: 'plocks', ino: FIVE }), [{ sid: 1, owner, records }])
    assert.deepEqual(await bench.scan('plocksOf', { sid: 1 }), [{ ino: 5, owner, records }])
    await bench.write({ kind: 'putPlock', ino: FIVE, sid: 1, owner, records: Buffer.alloc(0) })
    assert.deepEqual(await bench.read({ kind: 'plocks', ino: FIVE }), [])
  })

  claim('a session keeps nodes until it lets them go', async bench => {
    await bench.write({ kind: 'sustain', sid: 1, ino: FIVE }, { kind: 'sustain', sid: 1, ino: inoOf(6) })
    await bench.write({ kind: 'sustain', sid: 1, ino: FIVE })
    assert.equal(await bench.read({ kind: 'sustained', sid: 1, ino: FIVE }), true)
    assert.equal(await bench.read({ kind: 'sustained', sid: 2, ino: FIVE }), false)
    await bench.write({ kind: 'unsustain', sid: 1, ino: FIVE })
    assert.deepEqual(await bench.scan('sustained', { sid: 1 }), [{ ino: 6 }])
  })

  claim('the setting is kept as text, byte for byte', async bench => {
    const json = '{\n "Name": "vol-é",\n "Unknown": [1, 2.50]\n}'
    await bench.write({ kind: 'putFormat', json })
    assert.equal(await bench.read({ kind: 'format' }), json)
  })
}

function accountClaims(claim: Claim): void {
  claim('usage of the volume adds up and may go down', async bench => {
    await bench.write({ kind: 'usage', space: 2 ** 45, inodes: 3 })
    await bench.write({ kind: 'usage', space: -4096, inodes: -1 })
    assert.equal(await bench.read(counter('usedSpace')), 2 ** 45 - 4096)
    assert.equal(await bench.read(counter('totalInodes')), 2)
  })

  claim('directory usage adds to a record, and a missing record stays missing', async bench => {
    const usage = { length: 10, space: 8192, inodes: 2 }
    await bench.write({ kind: 'dirUsage', ino: FIVE, ...usage })
    assert.equal(await bench.read({ kind: 'dirUsage', ino: FIVE }), null)
    await bench.write({ kind: 'newDirUsage', ino: FIVE })
    await bench.write({ kind: 'dirUsage', ino: FIVE, ...usage })
    await bench.write({ kind: 'dirUsage', ino: FIVE, length: -4, space: -4096, inodes: -1 })
    assert.deepEqual(await bench.read({ kind: 'dirUsage', ino: FIVE }), { length: 6, space: 4096, inodes: 1 })
    await bench.write({ kind: 'putDirUsage', ino: FIVE, usage })
    assert.deepEqual(await bench.scan('dirUsages', {}), [{ ino: 5, usage }])
    await bench.write({ kind: 'delDirUsage', ino: FIVE })
    assert.equal(await bench.read({ kind: 'dirUsage', ino: FIVE }), null)
  })

  claim('usage reaches the quota of a directory that has one, and every user and group', async bench => {
    const limits = { maxSpace: 2 ** 40, maxInodes: -1, usedSpace: 0, usedInodes: 0 }
    const charge = { space: 4096, inodes: 1 }
    await bench.write({ kind: 'putQuota', type: QUOTA_DIR, key: 5, quota: limits })
    await bench.write(
      { kind: 'quotaUsage', type: QUOTA_DIR, key: 5, ...charge },
      { kind: 'quotaUsage', type: QUOTA_DIR, key: 6, ...charge },
      { kind: 'quotaUsage', type: QUOTA_USER, key: 1000, ...charge },
    )
    await bench.write({ kind: 'quotaUsage', type: QUOTA_USER, key: 1000, ...charge })
    const charged = { ...limits, usedSpace: 4096, usedInodes: 1 }
    assert.deepEqual(await bench.read({ kind: 'quota', type: QUOTA_DIR, key: 5 }), charged)
    assert.equal(await bench.read({ kind: 'quota', type: QUOTA_DIR, key: 6 }), null)
    assert.deepEqual(await bench.scan('quotas', { type: QUOTA_USER }), [
      { key: 1000, quota: { maxSpace: -1, maxInodes: -1, usedSpace: 8192, usedInodes: 2 } },
    ])
    await bench.write({ kind: 'delQuota', type: QUOTA_DIR, key: 5 })
    assert.deepEqual(await bench.scan('quotas', { type: QUOTA_DIR }), [])
  })

  claim('a counter is set', async bench => {
    await bench.write({ kind: 'putCounter', name: 'lastCleanupFiles', value: 1_795_245_442 })
    assert.equal(await bench.read(counter('lastCleanupFiles')), 1_795_245_442)
  })
}
