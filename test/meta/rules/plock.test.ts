import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Plock } from '../../../src/meta/meta.ts'
import {
  applyPlock,
  decodePlocks,
  encodePlocks,
  type LockedRange,
  plockConflict,
  TO_EOF,
} from '../../../src/meta/rules/plock.ts'

const lock = (type: 'R' | 'W' | 'U', start: number, end: number, pid = 1): Plock => ({ type, start, end, pid })
const range = (type: 'R' | 'W', start: number, end: number, pid = 1): LockedRange => ({ type, start, end, pid })

test('records are spelled as documented: a write lock of 10…109, a read lock of 500…549', () => {
  const bytes = Buffer.from(
    '00000001000055ae000000000000000a000000000000006d00000000000055ae00000000000001f40000000000000225',
    'hex',
  )
  const ranges = [range('W', 10, 109, 21934), range('R', 500, 549, 21934)]
  assert.deepEqual(decodePlocks(bytes), ranges)
  assert.deepEqual(encodePlocks(ranges), bytes)
})

test('"to the end of the file" is 2^63 − 1 in the record', () => {
  const bytes = encodePlocks([range('W', 5, TO_EOF)])
  assert.equal(bytes.toString('hex', 16), '7fffffffffffffff')
  assert.deepEqual(decodePlocks(bytes), [range('W', 5, TO_EOF)])
})

test('a record list of odd length is a fault; unlocked and empty records are left out', () => {
  assert.throws(() => decodePlocks(Buffer.alloc(23)), /damaged lock record/)
  const bytes = encodePlocks([range('R', 0, 9), range('R', 20, 29)])
  bytes.writeUInt32BE(2, 0)
  assert.deepEqual(decodePlocks(bytes), [range('R', 20, 29)])
})

test('unlocking the middle splits a range, locking it again heals it', () => {
  const split = applyPlock([range('W', 0, 99)], lock('U', 40, 59))
  assert.deepEqual(split, [range('W', 0, 39), range('W', 60, 99)])
  assert.deepEqual(applyPlock(split, lock('W', 40, 59)), [range('W', 0, 99)])
})

test('another type or another process over a part does not merge with its neighbours', () => {
  assert.deepEqual(applyPlock([range('W', 0, 99)], lock('R', 10, 19)), [
    range('W', 0, 9),
    range('R', 10, 19),
    range('W', 20, 99),
  ])
  assert.deepEqual(applyPlock([range('W', 0, 9, 1)], lock('W', 10, 19, 2)), [
    range('W', 0, 9, 1),
    range('W', 10, 19, 2),
  ])
})

test('unlocking everything leaves nothing, unlocking nothing changes nothing', () => {
  assert.deepEqual(applyPlock([range('R', 5, TO_EOF), range('W', 0, 1)], lock('U', 0, TO_EOF)), [])
  assert.deepEqual(applyPlock([], lock('U', 0, 9)), [])
})

test('random locks agree with a table of bytes', () => {
  const bytes = 40
  let seed = 20261
  const random = (n: number): number => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
    return Math.floor((seed / 2 ** 32) * n)
  }
  const table: (string | null)[] = new Array(bytes).fill(null)
  let ranges: LockedRange[] = []
  for (let step = 0; step < 3000; step++) {
    const start = random(bytes)
    const end = start + random(bytes - start)
    const wanted = lock((['R', 'W', 'U'] as const)[random(3)]!, start, end, 1 + random(2))
    ranges = decodePlocks(encodePlocks(applyPlock(ranges, wanted)))
    table.fill(wanted.type === 'U' ? null : `${wanted.type}${wanted.pid}`, start, end + 1)
    const shown: (string | null)[] = new Array(bytes).fill(null)
    for (const [i, r] of ranges.entries()) {
      const next = ranges[i + 1]
      assert.ok(!next || next.start > r.end, 'sorted and disjoint')
      assert.ok(!next || next.start > r.end + 1 || next.type !== r.type || next.pid !== r.pid, 'neighbours are merged')
      shown.fill(`${r.type}${r.pid}`, r.start, r.end + 1)
    }
    assert.deepEqual(shown, table, `step ${step}`)
  }
})

test('ranges conflict where they share a byte, the holders differ, and one of them writes', () => {
  const holders = [{ sid: 1, owner: 'a', records: encodePlocks([range('R', 10, 19, 77)]) }]
  const conflicts = (sid: number, owner: string, wanted: Plock): boolean =>
    plockConflict(holders, sid, owner, wanted) !== undefined
  assert.ok(conflicts(1, 'b', lock('W', 19, 30)))
  assert.ok(conflicts(2, 'a', lock('W', 0, 10)))
  assert.ok(!conflicts(1, 'a', lock('W', 0, TO_EOF)), 'our own')
  assert.ok(!conflicts(1, 'b', lock('R', 0, TO_EOF)), 'two readers')
  assert.ok(!conflicts(1, 'b', lock('W', 20, TO_EOF)), 'no byte in common')
  assert.ok(!conflicts(1, 'b', lock('U', 0, TO_EOF)), 'unlocking')
})
