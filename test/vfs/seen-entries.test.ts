import assert from 'node:assert/strict'
import { it } from 'node:test'
import type { Ino } from '../../src/base/ino.ts'
import { SeenEntries } from '../../src/vfs/seen-entries.ts'

const ino = (n: number) => n as Ino

it('an entry is new once, whether its node has other names or its name leads elsewhere', () => {
  const seen = new SeenEntries()
  assert.equal(seen.add(ino(7), 'a'), true)
  assert.equal(seen.add(ino(7), 'a'), false)
  assert.equal(seen.add(ino(7), 'b'), true)
  assert.equal(seen.add(ino(8), 'a'), true)
  assert.equal(seen.add(ino(2 ** 52 + 7), 'a'), true)
  assert.equal(seen.add(ino(2 ** 52 + 7), 'a'), false)
})

it('two hundred thousand entries are told apart', () => {
  const seen = new SeenEntries()
  for (let i = 0; i < 200_000; i++) assert.equal(seen.add(ino(2 + i), `file-${i}`), true)
  for (let i = 0; i < 200_000; i += 997) assert.equal(seen.add(ino(2 + i), `file-${i}`), false)
})
