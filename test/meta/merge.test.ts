import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Ino } from '../../src/base/ino.ts'
import { type Change, QUOTA_DIR, QUOTA_USER } from '../../src/meta/facts.ts'
import { mergeChanges } from '../../src/meta/merge.ts'
import { directory, file } from '../conformance/engine/harness.ts'

const [FIVE, SIX] = [5 as Ino, 6 as Ino]
const time = (sec: number) => ({ sec, nsec: 0 })
const adjust = (nlink: number, sec: number | null, ino = FIVE): Change => ({
  kind: 'adjustDir',
  ino,
  nlink,
  at: sec === null ? null : time(sec),
})
const merged = (...changes: Change[]): readonly Change[] => mergeChanges(changes).changes
const records = (n: number): Buffer => Buffer.alloc(24, n)

describe('merging the changes of a commit', () => {
  it('leaves changes of different records as they are, in their order', () => {
    const changes: Change[] = [
      { kind: 'putNode', ino: FIVE, attr: file() },
      { kind: 'setDentry', parent: FIVE, name: 'a', ino: SIX, type: 1 },
      { kind: 'setDentry', parent: FIVE, name: 'b', ino: SIX, type: 1 },
      { kind: 'setDentry', parent: SIX, name: 'a', ino: SIX, type: 1 },
      adjust(1, 1, SIX),
      { kind: 'linkParent', ino: FIVE, parent: FIVE, delta: 1 },
      { kind: 'linkParent', ino: FIVE, parent: SIX, delta: -1 },
      { kind: 'quotaUsage', type: QUOTA_DIR, key: 5, space: 1, inodes: 1 },
      { kind: 'quotaUsage', type: QUOTA_USER, key: 5, space: 1, inodes: 1 },
      { kind: 'refSlice', id: 1, size: 1, delta: 1 },
      { kind: 'refSlice', id: 1, size: 2, delta: 1 },
    ]
    const { changes: same, resultOf } = mergeChanges(changes)
    assert.equal(same, changes)
    assert.deepEqual(resultOf, [...changes.keys()])
  })

  it('adds what is adjusted, with the later time, and no time only where none was said', () => {
    assert.deepEqual(merged(adjust(1, 8), adjust(-2, 9), adjust(0, null)), [adjust(-1, 9)])
    assert.deepEqual(merged(adjust(0, null), adjust(0, null)), [adjust(0, null)])
  })

  it('folds an adjustment or an extension into the record that is put, in either order', () => {
    const put: Change = { kind: 'putNode', ino: FIVE, attr: directory({ nlink: 3 }) }
    const both = [{ ...put, attr: directory({ nlink: 4, mtime: time(9), ctime: time(9) }) }]
    assert.deepEqual(merged(put, adjust(1, 9)), both)
    assert.deepEqual(merged(adjust(1, 9), put), both)
    assert.deepEqual(merged(put, adjust(1, null)), [{ ...put, attr: directory({ nlink: 4 }) }])

    const node: Change = { kind: 'putNode', ino: FIVE, attr: file({ length: 10 }) }
    const extend = (length: number): Change => ({
      kind: 'extendNode',
      ino: FIVE,
      length,
      mtime: time(8),
      ctime: time(9),
    })
    const extended = (length: number) => [{ ...node, attr: file({ length, mtime: time(8), ctime: time(9) }) }]
    assert.deepEqual(merged(node, extend(20)), extended(20))
    assert.deepEqual(merged(extend(5), node), extended(10))
    assert.deepEqual(merged(extend(20), extend(5)), [extend(20)])
  })

  it('sums usage, references and parent counts', () => {
    const usage = (n: number): Change => ({ kind: 'usage', space: n, inodes: 1 })
    const dir = (n: number): Change => ({ kind: 'dirUsage', ino: FIVE, length: n, space: n, inodes: 1 })
    const quota = (n: number): Change => ({ kind: 'quotaUsage', type: QUOTA_DIR, key: 5, space: n, inodes: -1 })
    const ref = (delta: number): Change => ({ kind: 'refSlice', id: 1, size: 9, delta })
    const link = (delta: number): Change => ({ kind: 'linkParent', ino: FIVE, parent: SIX, delta })
    assert.deepEqual(
      merged(usage(1), dir(1), quota(1), ref(1), link(1), usage(2), dir(2), quota(2), ref(2), link(-1)),
      [
        { kind: 'usage', space: 3, inodes: 2 },
        { kind: 'dirUsage', ino: FIVE, length: 3, space: 3, inodes: 2 },
        { kind: 'quotaUsage', type: QUOTA_DIR, key: 5, space: 3, inodes: -2 },
        ref(3),
        link(0),
      ],
    )
  })

  it('lines up what is appended to one chunk', () => {
    const append = (index: number, bytes: Buffer): Change => ({
      kind: 'appendSlices',
      ino: FIVE,
      index,
      records: bytes,
    })
    assert.deepEqual(merged(append(0, records(1)), append(1, records(2)), append(0, records(3))), [
      append(0, Buffer.concat([records(1), records(3)])),
      append(1, records(2)),
    ])
  })

  it('makes a replacement of removing an entry and setting it again', () => {
    const set: Change = { kind: 'setDentry', parent: FIVE, name: 'a', ino: SIX, type: 1 }
    assert.deepEqual(merged({ kind: 'delDentry', parent: FIVE, name: 'a' }, set), [set])
  })

  it('charges nothing to a record that goes', () => {
    const gone: Change[] = [
      { kind: 'delDirUsage', ino: FIVE },
      { kind: 'delQuota', type: QUOTA_DIR, key: 5 },
    ]
    const charges: Change[] = [
      { kind: 'dirUsage', ino: FIVE, length: 1, space: 1, inodes: 1 },
      { kind: 'quotaUsage', type: QUOTA_DIR, key: 5, space: 1, inodes: 1 },
    ]
    assert.deepEqual(merged(...gone, ...charges), gone)
    assert.deepEqual(merged(...charges, ...gone), gone)
  })

  it('tells for every change which merged one has its result', () => {
    const ref = (id: number): Change => ({ kind: 'refSlice', id, size: 9, delta: 1 })
    assert.deepEqual(mergeChanges([ref(1), ref(2), ref(1), ref(3), ref(2)]).resultOf, [0, 1, 0, 2, 1])
  })

  it('refuses what contradicts itself', () => {
    const put: Change = { kind: 'putNode', ino: FIVE, attr: file() }
    const set: Change = { kind: 'setDentry', parent: FIVE, name: 'a', ino: SIX, type: 1 }
    const contradictions: Change[][] = [
      [put, put],
      [put, { kind: 'delNode', ino: FIVE }],
      [{ kind: 'delNode', ino: FIVE }, adjust(1, 1)],
      [set, set],
      [set, { kind: 'delDentry', parent: FIVE, name: 'a' }],
      [
        { kind: 'sustain', sid: 1, ino: FIVE },
        { kind: 'unsustain', sid: 1, ino: FIVE },
      ],
    ]
    for (const changes of contradictions) {
      const kinds = changes.map(change => change.kind).join(' and ')
      assert.throws(() => mergeChanges(changes), /of one record in one commit/, kinds)
    }
  })
})
