import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { OwedUnlocks } from '../../../src/meta/client/owed-unlocks.ts'

test('two who make up for an unlock at once wait for one attempt: none of it comes after the lock that follows', async () => {
  const owed = new OwedUnlocks()
  let underWay = 0
  let calls = 0
  owed.owe('a', async () => {
    underWay++
    if (++calls === 1) await sleep(20)
    underWay--
  })
  const beat = owed.settleAll()
  await owed.settle('a')
  assert.equal(underWay, 0)
  await beat
  assert.deepEqual([calls, owed.has('a')], [1, false])
})

test('of several that are owed for a file none is left out, however many make up for them', async () => {
  const owed = new OwedUnlocks()
  const done: string[] = []
  for (const which of ['first', 'second', 'third']) {
    owed.owe('a', async () => {
      await sleep(1)
      done.push(which)
    })
  }
  await Promise.all([owed.settleAll(), owed.settle('a'), owed.settle('a')])
  assert.deepEqual(done, ['first', 'second', 'third'])
})

test('one that fails again stays owed, is told, and does not keep the others', async () => {
  const owed = new OwedUnlocks()
  let works = false
  const done: string[] = []
  owed.owe('a', async () => {
    if (!works) throw new Error('no database')
    done.push('a')
  })
  owed.owe('b', async () => void done.push('b'))
  await assert.rejects(owed.settleAll(), /no database/)
  assert.deepEqual([done, owed.has('a'), owed.has('b')], [['b'], true, false])
  works = true
  await owed.settle('a')
  assert.deepEqual([done, owed.has('a')], [['b', 'a'], false])
})
