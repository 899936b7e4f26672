import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EINVAL, EROFS } from '../../../src/base/errno.ts'
import { chunk } from '../../../src/meta/facts.ts'
import { buildView, decodeRecords, encodeRecords, type SliceRecord } from '../../../src/meta/model/slice.ts'
import { commitCompaction, planCompaction } from '../../../src/meta/ops/compact.ts'
import { decide, FILE, ofKind, readOnly, volume } from './decide.ts'

const MiB = 2 ** 20
const record = (pos: number, id: number, len: number): SliceRecord => ({
  pos,
  id,
  size: id === 0 ? 0 : len,
  off: 0,
  len,
})
const overlapping = Array.from({ length: 8 }, (_, i) => record(i * 500, 10 + i, 1000))
const merged = { pos: 0, id: 18, size: 4500, off: 0, len: 4500 }
const commit = (
  list: readonly SliceRecord[],
  options: { before?: Buffer; skipped?: number; merged?: SliceRecord; trash?: boolean; v?: typeof volume } = {},
  results: number[] = [],
) => {
  const before = options.before ?? encodeRecords(list)
  const skipped = (options.skipped ?? 0) * 24
  const by = options.merged ?? merged
  const how = { trash: options.trash ?? false, at: 99 }
  const operation = commitCompaction(options.v ?? volume, FILE, 3, before, skipped, by, how)
  return decide(operation, [[chunk(FILE, 3), encodeRecords(list)]], results)
}

test('eight overlapping writes become one slice of 4,500 bytes', () => {
  const plan = planCompaction(overlapping)
  assert.deepEqual(plan, { skipped: 0, pos: 0, size: 4500, view: buildView(overlapping) })
})

test('the documented commit: one record, and with trash one record of what it replaced', () => {
  const { changes, value } = commit(overlapping, { trash: true })
  assert.deepEqual(value.unused, [])
  const [replaced] = ofKind(changes, 'replaceSlices')
  assert.deepEqual(replaced!.prefix, encodeRecords(overlapping))
  assert.equal(
    replaced!.records.toString('hex'),
    '00000000' + '0000000000000012' + '00001194' + '00000000' + '00001194',
  )
  assert.deepEqual(ofKind(changes, 'newSlice'), [{ kind: 'newSlice', id: 18, size: 4500, refs: 1 }])
  const [trashed] = ofKind(changes, 'trashSlices')
  assert.deepEqual([trashed!.id, trashed!.at, trashed!.items.length], [18, 99, 8 * 12])
  assert.equal(trashed!.items.toString('hex', 0, 24), '000000000000000a000003e8000000000000000b000003e8')
  assert.deepEqual(ofKind(changes, 'refSlice'), [])
})

test('without trash the replaced slices lose their references at once, counted once a slice', () => {
  const list = [record(0, 5, 100), record(50, 6, 100), record(0, 5, 100), record(20, 0, 5)]
  const { changes, value } = commit(list, { merged: { pos: 0, id: 9, size: 150, off: 0, len: 150 } }, [0, 2])
  assert.deepEqual(ofKind(changes, 'refSlice'), [
    { kind: 'refSlice', id: 5, size: 100, delta: -2 },
    { kind: 'refSlice', id: 6, size: 100, delta: -1 },
  ])
  assert.deepEqual(value.unused, [{ id: 5, size: 100 }])
})

test('big records at the beginning that nothing overlaps are skipped, and kept at the commit', () => {
  const list = [record(0, 1, 2 * MiB), record(2 * MiB, 2, MiB), record(3 * MiB, 3, 10), record(3 * MiB + 5, 4, 10)]
  const plan = planCompaction(list)!
  assert.deepEqual([plan.skipped, plan.pos, plan.size], [2, 3 * MiB, 15])
  const by = { pos: plan.pos, id: 9, size: 15, off: 0, len: 15 }
  const { changes } = commit(list, { skipped: 2, merged: by })
  assert.deepEqual(decodeRecords(ofKind(changes, 'replaceSlices')[0]!.records), [list[0], list[1], by])
  assert.deepEqual(
    ofKind(changes, 'refSlice').map(c => c.id),
    [3, 4],
  )
})

test('a first record is not skipped if it is small, small beside the rest, overlapped, or named again', () => {
  const skipped = (...list: SliceRecord[]): number | undefined => planCompaction(list)?.skipped
  assert.equal(skipped(record(0, 1, MiB - 1), record(2 * MiB, 2, 10), record(2 * MiB, 3, 10)), 0)
  assert.equal(skipped(record(0, 1, MiB), record(MiB, 2, 5 * MiB), record(MiB, 3, 10)), 0)
  assert.equal(skipped(record(0, 1, 2 * MiB), record(MiB, 2, 10), record(MiB, 3, 10)), 0)
  assert.equal(skipped(record(0, 1, 2 * MiB), record(2 * MiB, 2, 10), record(0, 1, 2 * MiB)), 0)
})

test('fewer than two records, or only big ones that stay, give no plan', () => {
  assert.equal(planCompaction([]), null)
  assert.equal(planCompaction([record(0, 1, 10)]), null)
  assert.equal(planCompaction([record(0, 1, 2 * MiB), record(2 * MiB, 2, MiB)]), null)
})

test('zeros at both ends are left out, zeros between are kept, and nothing but zeros leaves one byte', () => {
  const plan = planCompaction([record(100, 1, 50), record(200, 2, 50), record(220, 0, 30), record(100, 0, 10)])!
  assert.deepEqual([plan.pos, plan.size], [110, 110])
  assert.deepEqual(
    plan.view.map(({ pos, id, len }) => [pos, id, len]),
    [
      [110, 1, 40],
      [150, 0, 50],
      [200, 2, 20],
    ],
  )
  const zeros = planCompaction([record(0, 1, 50), record(0, 0, 50)])!
  assert.deepEqual(zeros, { skipped: 0, pos: 0, size: 1, view: [{ ...record(0, 0, 50), len: 1 }] })
})

test('what was appended meanwhile stays behind the merged record', () => {
  const { errno, changes } = commit([...overlapping, record(9000, 50, 10)], { before: encodeRecords(overlapping) })
  assert.equal(errno, 0)
  assert.equal(ofKind(changes, 'replaceSlices')[0]!.prefix.length, 8 * 24)
})

test('a list that no longer begins as it was read, or is gone, is left alone', () => {
  assert.equal(commit(overlapping.slice(1), { before: encodeRecords(overlapping) }).errno, EINVAL)
  assert.equal(commit(overlapping.slice(0, 7), { before: encodeRecords(overlapping) }).errno, EINVAL)
  assert.equal(
    decide(commitCompaction(volume, FILE, 3, encodeRecords(overlapping), 0, merged, { trash: false, at: 0 })).errno,
    EINVAL,
  )
  assert.equal(commit(overlapping, { v: readOnly }).errno, EROFS)
})

test('a merged slice that does not cover what it replaces is a bug, not a commit', () => {
  assert.throws(() => commit(overlapping, { merged: { ...merged, len: 4499, size: 4499 } }), /covers exactly/)
  assert.throws(() => commit(overlapping, { skipped: 1 }), /covers exactly/)
})

test('an ignored record of length 0 does not shift what is kept', () => {
  const list = [record(0, 1, 2 * MiB), record(2 * MiB, 3, 10), record(2 * MiB + 5, 4, 10)]
  const nothing = Buffer.alloc(24)
  const bytes = Buffer.concat([nothing, encodeRecords(list)])
  const plan = planCompaction(decodeRecords(bytes))!
  const by = { pos: plan.pos, id: 9, size: plan.size, off: 0, len: plan.size }
  const operation = commitCompaction(volume, FILE, 3, bytes, plan.skipped * 24, by, { trash: false, at: 0 })
  const { changes } = decide(operation, [[chunk(FILE, 3), bytes]])
  assert.deepEqual(decodeRecords(ofKind(changes, 'replaceSlices')[0]!.records), [list[0], by])
})

test('an ignored record gives back its reference when it goes', () => {
  const list = [record(0, 1, 2 * MiB), record(2 * MiB, 3, 10), record(2 * MiB + 5, 4, 10)]
  const empty = encodeRecords([record(0, 7, 100)])
  empty.writeUInt32BE(0, 20)
  const bytes = Buffer.concat([empty, encodeRecords(list)])
  const plan = planCompaction(decodeRecords(bytes))!
  const by = { pos: plan.pos, id: 9, size: plan.size, off: 0, len: plan.size }
  for (const trash of [false, true]) {
    const operation = commitCompaction(volume, FILE, 3, bytes, plan.skipped * 24, by, { trash, at: 0 })
    const { changes } = decide(operation, [[chunk(FILE, 3), bytes]])
    const [trashed] = ofKind(changes, 'trashSlices')
    const ids = trash
      ? [0, 1, 2].map(i => Number(trashed!.items.readBigUInt64BE(i * 12)))
      : ofKind(changes, 'refSlice').map(({ id }) => id)
    assert.deepEqual(ids, [7, 3, 4])
  }
})
