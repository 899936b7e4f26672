import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { DiskCache } from '../../src/chunk/disk-cache.ts'
import { tierIn } from '../../src/chunk/stage-footer.ts'
import { isUploadHour, parseUploadHours } from '../../src/chunk/upload-hours.ts'
import { type Staged, UploadQueue } from '../../src/chunk/upload-queue.ts'

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')

describe('the footer of a staged file', () => {
  it('names the tier, as JuiceFS writes it with and without checksums', () => {
    assert.equal(tierIn(hex('46 53 00 10 82 A4 74 69 65 72 CC 01 A3 70 61 64 C4 02 00 00')), 1)
    assert.equal(tierIn(hex('46 53 00 0E 82 A4 74 69 65 72 CC 03 A3 70 61 64 C4 00')), 3)
  })

  it('may be missing, and a tier that there is not counts as the default', () => {
    assert.equal(tierIn(Buffer.alloc(0)), 0)
    assert.equal(tierIn(hex('46 53 00 0E 82 A4 74 69 65 72 CC 04 A3 70 61 64 C4 00')), 0)
  })

  it('that is damaged is none', () => {
    for (const text of [
      '46 53',
      '46 53 00 00',
      '46 54 00 0E 82 A4 74 69 65 72 CC 01 A3 70 61 64 C4 00',
      '46 53 00 0F 82 A4 74 69 65 72 CC 01 A3 70 61 64 C4 00',
      '46 53 00 0E 82 A4 74 69 65 72 CC 01 A3 70 61 64 C4 09',
      '46 53 00 0E 82 A4 74 69 65 72 DD 01 A3 70 61 64 C4 00',
    ]) {
      assert.equal(tierIn(hex(text)), null, text)
    }
  })
})

describe('the hours of uploads', () => {
  const at = (hour: number) => ({ sec: Math.floor(new Date(2026, 10, 21, hour, 59).getTime() / 1000), nsec: 0 })
  const open = (text: string): number[] =>
    Array.from({ length: 24 }, (_, hour) => hour).filter(hour => isUploadHour(parseUploadHours(text), at(hour)))

  it('are from one hour up to another, past midnight too', () => {
    assert.deepEqual(open('1-4'), [1, 2, 3])
    assert.deepEqual(open('22,2'), [0, 1, 22, 23])
    assert.equal(open('5-5').length, 24)
  })

  it('are all, where none are given or what is given cannot be read', () => {
    for (const text of ['', '1', '1-24', 'a-b', '1-2-3', '-1-2']) {
      assert.equal(parseUploadHours(text), null, text)
      assert.equal(open(text).length, 24)
    }
  })
})

describe('the queue of uploads', () => {
  const [one, other] = [{ root: 'one' }, { root: 'other' }] as unknown as [DiskCache, DiskCache]
  const staged = (key: number, cache = one): Staged => ({
    block: { id: key, index: 0, length: 1 },
    key,
    cache,
    addedMs: 0,
    isDurable: false,
    isRemoved: false,
  })

  it('gives out what is due, the first due first, whichever queue it waits in', () => {
    const queue = new UploadQueue()
    queue.add('fresh', staged(1), 100)
    queue.add('fresh', staged(2), 200)
    queue.add('found', staged(3), 50)
    queue.add('failed', staged(4), 150)
    assert.equal(queue.nextDueMs, 50)
    const keys: unknown[] = []
    for (let next = queue.take(199); next; next = queue.take(199)) keys.push(next.key)
    assert.deepEqual(keys, [3, 1, 4])
    assert.equal(queue.isEmpty, false)
    queue.delete(2)
    assert.equal(queue.isEmpty, true)
    assert.equal(queue.nextDueMs, Number.POSITIVE_INFINITY)
  })

  it('lets blocks of one directory go first, the oldest, as many as are wanted', () => {
    const queue = new UploadQueue()
    for (let key = 1; key <= 6; key++) queue.add('fresh', staged(key, key % 2 === 0 ? other : one), 1000 + key)
    queue.hurry(other, 2)
    assert.deepEqual([queue.take(0)?.key, queue.take(0)?.key, queue.take(0)?.key], [2, 4, undefined])
    assert.equal(queue.nextDueMs, 1001)
  })
})
