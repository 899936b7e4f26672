import assert from 'node:assert/strict'
import { test } from 'node:test'
import { counter } from '../../../src/meta/facts.ts'
import { elect } from '../../../src/meta/ops/counters.ts'
import { decide } from './decide.ts'

test('a job is given to one client a period, the first time to anybody', () => {
  const at = (last: number) => decide(elect('lastCleanupFiles', 10_000, 3240), [[counter('lastCleanupFiles'), last]])
  for (const last of [0, 10_000 - 3240]) {
    const { value, changes } = at(last)
    assert.deepEqual(value, { elected: true })
    assert.deepEqual(changes, [{ kind: 'putCounter', name: 'lastCleanupFiles', value: 10_000 }])
  }
  const late = at(10_000 - 3239)
  assert.deepEqual([late.value, late.changes], [{ elected: false }, []])
})

test('a time that lies days ahead was noted by a clock that was wrong, and keeps nobody from working', () => {
  const at = (last: number) => decide(elect('lastCleanupTrash', 10_000, 3240), [[counter('lastCleanupTrash'), last]])
  assert.deepEqual(at(10_000 + 3600).value, { elected: false })
  const { value, changes } = at(10_000 + 10 * 86_400)
  assert.deepEqual(value, { elected: true })
  assert.deepEqual(changes, [{ kind: 'putCounter', name: 'lastCleanupTrash', value: 10_000 }])
})
