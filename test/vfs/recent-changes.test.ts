import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Ino } from '../../src/base/ino.ts'
import { RecentChanges } from '../../src/vfs/recent-changes.ts'

const ino = (n: number): Ino => n as Ino

test('a change is known to have come after what was asked before it, and not after what was asked later', () => {
  const changes = new RecentChanges()
  const before = changes.now
  changes.note(ino(5))
  const after = changes.now
  assert.equal(changes.since(ino(5), before), true)
  assert.equal(changes.since(ino(5), after), false)
  assert.equal(changes.since(ino(6), before), false)
})

test('whatever number of changes came between, none is denied; what is long ago counts as changed', () => {
  const changes = new RecentChanges()
  const moments: number[] = []
  for (let i = 0; i < 30_000; i++) {
    moments.push(changes.now)
    changes.note(ino(100 + (i % 20_000)))
  }
  for (let i = 0; i < 30_000; i += 97) {
    assert.equal(changes.since(ino(100 + (i % 20_000)), moments[i]!), true, `change ${i}`)
  }
  assert.equal(changes.since(ino(1), moments[0]!), true)
  assert.equal(changes.since(ino(1), changes.now), false)
})
