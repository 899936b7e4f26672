/** A commit happens as a whole, if everything that was read is still so, or not at all. */

import assert from 'node:assert/strict'
import { ROOT_INO } from '../../../src/base/ino.ts'
import type { Guard, Strength } from '../../../src/meta/engine.ts'
import {
  ancestors,
  type Change,
  chunk,
  counter,
  dentry,
  node,
  parents,
  type Read,
  xattr,
} from '../../../src/meta/facts.ts'
import type { Attr } from '../../../src/meta/model/attr.ts'
import { type Bench, type Claim, directory, file, inoOf } from './harness.ts'

const FIVE = inoOf(5)
const LATER = { sec: 9, nsec: 9 }
/** a change that shows whether a commit was applied */
const MARK: Change = { kind: 'putXattr', ino: ROOT_INO, name: 'mark', value: Buffer.from('x') }
const isMarked = async (bench: Bench): Promise<boolean> => (await bench.read(xattr(ROOT_INO, 'mark'))) !== null

export function commitClaims(claim: Claim): void {
  guardClaims(claim)
  refusalClaims(claim)
  commuteClaims(claim)
}

function guardClaims(claim: Claim): void {
  const fields: readonly (readonly [field: string, change: Partial<Attr>, breaks: readonly Strength[]])[] = [
    ['mode', { mode: 0o600 }, ['exact', 'length', 'identity']],
    ['owner', { uid: 7 }, ['exact', 'length', 'identity']],
    ['group', { gid: 7 }, ['exact', 'length', 'identity']],
    ['flags', { flags: 1 }, ['exact', 'length', 'identity']],
    ['parent', { parent: inoOf(9) }, ['exact', 'length', 'identity']],
    ['access rule', { accessAcl: 1 }, ['exact', 'length', 'identity']],
    ['length', { length: 1 }, ['exact', 'length']],
    ['link count', { nlink: 2 }, ['exact', 'length']],
    ['mtime', { mtime: LATER }, ['exact']],
    ['ctime', { ctime: { sec: 1, nsec: 1 } }, ['exact']],
    ['atime', { atime: LATER }, ['exact']],
  ]
  for (const strength of ['exact', 'length', 'identity'] as const) {
    claim(`a guard of strength ${strength} breaks on what it compares and on nothing else`, async bench => {
      await bench.write(
        { kind: 'putNode', ino: FIVE, attr: file() },
        { kind: 'setDentry', parent: ROOT_INO, name: 'f', ino: FIVE, type: 1 },
      )
      for (const read of [node(FIVE), dentry(ROOT_INO, 'f')]) {
        for (const [field, change, breaks] of fields) {
          await put(bench, file())
          const guards = await bench.guard(strength, read)
          await put(bench, file(change))
          const { done } = await bench.commit(guards, MARK)
          assert.equal(done, !breaks.includes(strength), `${read.kind}, ${field}`)
        }
      }
    })
  }

  claim(
    'facts of one record from two moments cannot both be so still, in whatever order they were read',
    async bench => {
      const names = ['f', 'g'] as const
      const reads = [node(FIVE), ...names.map(name => dentry(ROOT_INO, name))]
      const entries = names.map((name): Change => ({ kind: 'setDentry', parent: ROOT_INO, name, ino: FIVE, type: 1 }))
      await bench.write({ kind: 'putNode', ino: FIVE, attr: file() }, ...entries)
      const commit = async (guards: readonly Guard[]): Promise<boolean> =>
        (await bench.commit(guards, { kind: 'putNode', ino: FIVE, attr: file({ nlink: 9 }) })).done
      for (const one of reads) {
        for (const other of reads) {
          if (one === other) continue
          await put(bench, file({ nlink: 3 }))
          const before = await bench.guard('exact', one)
          await put(bench, file({ nlink: 2 }))
          const after = await bench.guard('exact', other)
          const what = `${JSON.stringify(one)} and ${JSON.stringify(other)}`
          assert.equal(await commit([...before, ...after]), false, `${what}, old and new`)
          assert.equal(await commit([...after, ...before]), false, `${what}, new and old`)
          assert.equal(await commit([...after, ...(await bench.guard('exact', one))]), true, `${what}, both new`)
        }
      }
      await put(bench, file())
      const there = await bench.guard('exact', dentry(ROOT_INO, 'f'))
      const gone: Guard = { read: node(FIVE), fact: null, strength: 'exact' }
      for (const guards of [
        [...there, gone],
        [gone, ...there],
      ])
        assert.equal((await bench.commit(guards, MARK)).done, false, 'there, and not there')
    },
  )

  claim('a guard breaks when the fact it read has changed, whatever its kind', async bench => {
    const quota = { maxSpace: 1, maxInodes: 1, usedSpace: 1, usedInodes: 1 }
    const owner = '00000000000000aa'
    const cases: readonly (readonly [Read, ...Change[]])[] = [
      [node(FIVE), { kind: 'putNode', ino: FIVE, attr: directory() }],
      [dentry(ROOT_INO, 'a'), { kind: 'setDentry', parent: ROOT_INO, name: 'a', ino: FIVE, type: 2 }],
      [dentry(ROOT_INO, 'a', true), { kind: 'setDentry', parent: FIVE, name: 'b', ino: inoOf(6), type: 1 }],
      [dentry(FIVE, 'b'), { kind: 'delDentry', parent: FIVE, name: 'b' }],
      [
        parents(inoOf(6)),
        { kind: 'setDentry', parent: FIVE, name: 'c', ino: inoOf(6), type: 1 },
        { kind: 'linkParent', ino: inoOf(6), parent: FIVE, delta: 1 },
      ],
      [ancestors(FIVE), { kind: 'delNode', ino: FIVE }],
      [chunk(FIVE, 0), { kind: 'appendSlices', ino: FIVE, index: 0, records: Buffer.alloc(24) }],
      [
        { kind: 'chunkIndexes', ino: FIVE, from: 0, to: 5 },
        { kind: 'appendSlices', ino: FIVE, index: 3, records: Buffer.alloc(24) },
      ],
      [xattr(FIVE, 'a'), { kind: 'putXattr', ino: FIVE, name: 'a', value: Buffer.from('1') }],
      [
        { kind: 'xattrNames', ino: FIVE },
        { kind: 'putXattr', ino: FIVE, name: 'b', value: Buffer.from('1') },
      ],
      [
        { kind: 'flocks', ino: FIVE },
        { kind: 'putFlock', ino: FIVE, sid: 1, owner, type: 'R' },
      ],
      [
        { kind: 'plocks', ino: FIVE },
        { kind: 'putPlock', ino: FIVE, sid: 1, owner, records: Buffer.alloc(24) },
      ],
      [
        { kind: 'sustained', sid: 1, ino: FIVE },
        { kind: 'sustain', sid: 1, ino: FIVE },
      ],
      [
        { kind: 'deadFile', ino: FIVE },
        { kind: 'deadFile', ino: FIVE, length: 1, at: 1 },
      ],
      [
        { kind: 'sliceRefs', id: 7, size: 9 },
        { kind: 'newSlice', id: 7, size: 9, refs: 2 },
      ],
      [
        { kind: 'trashedSlices', id: 1, at: 1 },
        { kind: 'trashSlices', id: 1, at: 1, items: Buffer.alloc(12) },
      ],
      [
        { kind: 'dirUsage', ino: FIVE },
        { kind: 'newDirUsage', ino: FIVE },
      ],
      [
        { kind: 'quota', type: 0, key: 5 },
        { kind: 'putQuota', type: 0, key: 5, quota },
      ],
      [
        { kind: 'quota', type: 0, key: 5 },
        { kind: 'quotaUsage', type: 0, key: 5, space: 1, inodes: 0 },
      ],
      [counter('lastCleanupFiles'), { kind: 'putCounter', name: 'lastCleanupFiles', value: 5 }],
      [
        { kind: 'session', sid: 1 },
        { kind: 'putSession', sid: 1, expire: 5, info: null },
      ],
      [{ kind: 'format' }, { kind: 'putFormat', json: '{}' }],
    ]
    for (const [read, ...changes] of cases) {
      const guards = await bench.guard('identity', read)
      assert.equal((await bench.commit(guards, ...changes)).done, true, `${read.kind} still so`)
      assert.equal((await bench.commit(guards, MARK)).done, false, `${read.kind} changed by ${changes[0]!.kind}`)
    }
    assert.equal(await isMarked(bench), false)
  })

  claim('of two commits that build on one fact, one is done', async bench => {
    const make = (ino: number): Change[] => [
      { kind: 'putNode', ino: inoOf(ino), attr: file() },
      { kind: 'setDentry', parent: ROOT_INO, name: 'f', ino: inoOf(ino), type: 1 },
    ]
    const [first, second] = await Promise.all([5, 6].map(() => bench.guard('identity', dentry(ROOT_INO, 'f'))))
    const outcomes = await Promise.all([bench.commit(first!, ...make(5)), bench.commit(second!, ...make(6))])
    assert.deepEqual(outcomes.map(outcome => outcome.done).sort(), [false, true])
    const winner = outcomes[0]!.done ? 5 : 6
    assert.equal((await bench.read(dentry(ROOT_INO, 'f')))?.ino, winner)
    assert.equal(await bench.read(node(inoOf(11 - winner))), null)
  })
}

const put = (bench: Bench, attr: Attr) =>
  bench.guard('exact', node(FIVE)).then(guards => bench.commit(guards, { kind: 'putNode', ino: FIVE, attr }))

function refusalClaims(claim: Claim): void {
  const refused: readonly (readonly [sentence: string, change: Change])[] = [
    ['a directory that is gone is not adjusted', { kind: 'adjustDir', ino: inoOf(9), nlink: 1, at: LATER }],
    ['a directory that is gone is not even locked', { kind: 'adjustDir', ino: inoOf(9), nlink: 0, at: null }],
    [
      'a file that is gone is not extended',
      { kind: 'extendNode', ino: inoOf(9), length: 9, mtime: LATER, ctime: LATER },
    ],
    ['a node that nobody looked at is not overwritten', { kind: 'putNode', ino: FIVE, attr: file({ uid: 9 }) }],
    [
      'an entry that nobody looked at is not replaced',
      { kind: 'setDentry', parent: ROOT_INO, name: 'f', ino: inoOf(9), type: 1 },
    ],
    // A layout may store nothing of a slice with one reference.
    ['a slice is not stored twice', { kind: 'newSlice', id: 1, size: 10, refs: 2 }],
  ]
  for (const [sentence, change] of refused) {
    claim(`${sentence}, and nothing else of its commit is done`, async bench => {
      const attr = file()
      await bench.write(
        { kind: 'putNode', ino: FIVE, attr },
        { kind: 'setDentry', parent: ROOT_INO, name: 'f', ino: FIVE, type: 1 },
        { kind: 'newSlice', id: 1, size: 10, refs: 2 },
      )
      const usage: Change = { kind: 'usage', space: 4096, inodes: 1 }
      const name: Change = { kind: 'setDentry', parent: ROOT_INO, name: 'other', ino: inoOf(8), type: 1 }
      const records: Change = { kind: 'appendSlices', ino: FIVE, index: 0, records: Buffer.alloc(24) }
      for (const changes of [
        [usage, MARK, name, records, change],
        [change, usage, MARK, name, records],
      ]) {
        assert.equal((await bench.commit([], ...changes)).done, false)
        assert.equal(await isMarked(bench), false)
        assert.equal(await bench.read(counter('usedSpace')), 0)
        assert.equal(await bench.read(dentry(ROOT_INO, 'other')), null)
        assert.equal(await bench.read(chunk(FIVE, 0)), null)
        assert.deepEqual(await bench.read(dentry(ROOT_INO, 'f')), { ino: FIVE, type: 1, attr })
        assert.equal(await bench.read({ kind: 'sliceRefs', id: 1, size: 10 }), 2)
      }
    })
  }

  claim('an entry that was looked at is replaced', async bench => {
    await bench.write(
      { kind: 'putNode', ino: FIVE, attr: file() },
      { kind: 'setDentry', parent: ROOT_INO, name: 'f', ino: FIVE, type: 1 },
    )
    const guards = await bench.guard('exact', dentry(ROOT_INO, 'f'))
    const changes: Change[] = [
      { kind: 'putNode', ino: FIVE, attr: file({ uid: 9 }) },
      { kind: 'setDentry', parent: ROOT_INO, name: 'f', ino: inoOf(6), type: 3 },
    ]
    assert.equal((await bench.commit(guards, ...changes)).done, true)
    assert.deepEqual(await bench.read(dentry(ROOT_INO, 'f')), { ino: 6, type: 3, attr: null })
    assert.deepEqual(await bench.read(node(FIVE)), file({ uid: 9 }))
  })

  claim('every change has its place in the results', async bench => {
    await bench.write({ kind: 'newSlice', id: 3, size: 10, refs: 2 })
    const results = await bench.write(
      { kind: 'usage', space: 1, inodes: 1 },
      { kind: 'appendSlices', ino: FIVE, index: 0, records: Buffer.alloc(48) },
      MARK,
      { kind: 'refSlice', id: 3, size: 10, delta: -1 },
      { kind: 'newDirUsage', ino: FIVE },
    )
    assert.deepEqual(results, [undefined, 2, undefined, 1, undefined])
  })
}

function commuteClaims(claim: Claim): void {
  claim('adjusting adds links and sets times where told; extending never shortens', async bench => {
    await bench.write(
      { kind: 'putNode', ino: FIVE, attr: directory() },
      { kind: 'putNode', ino: inoOf(6), attr: file({ length: 50 }) },
    )
    await bench.write({ kind: 'adjustDir', ino: FIVE, nlink: 2, at: null })
    assert.deepEqual(await bench.read(node(FIVE)), directory({ nlink: 4 }))
    await bench.write({ kind: 'adjustDir', ino: FIVE, nlink: -1, at: LATER })
    assert.deepEqual(await bench.read(node(FIVE)), directory({ nlink: 3, mtime: LATER, ctime: LATER }))
    const mtime = { sec: 5, nsec: 5 }
    await bench.write({ kind: 'extendNode', ino: inoOf(6), length: 40, mtime, ctime: LATER })
    assert.deepEqual(await bench.read(node(inoOf(6))), file({ length: 50, mtime, ctime: LATER }))
    await bench.write({ kind: 'extendNode', ino: inoOf(6), length: 2 ** 50, mtime, ctime: LATER })
    assert.equal((await bench.read(node(inoOf(6))))?.length, 2 ** 50)
  })

  claim('changes that commute are all counted, however many come at once', async bench => {
    await bench.write({ kind: 'newDirUsage', ino: ROOT_INO }, { kind: 'newSlice', id: 1, size: 10, refs: 1 })
    const root = await bench.guard('identity', node(ROOT_INO))
    const outcomes = await Promise.all(
      Array.from({ length: 40 }, (_, i) =>
        bench.commit(
          root,
          { kind: 'putNode', ino: inoOf(10 + i), attr: directory() },
          { kind: 'setDentry', parent: ROOT_INO, name: `d${i}`, ino: inoOf(10 + i), type: 2 },
          { kind: 'adjustDir', ino: ROOT_INO, nlink: 1, at: LATER },
          { kind: 'usage', space: 4096, inodes: 1 },
          { kind: 'dirUsage', ino: ROOT_INO, length: 0, space: 4096, inodes: 1 },
          { kind: 'appendSlices', ino: FIVE, index: 0, records: Buffer.alloc(24) },
          { kind: 'refSlice', id: 1, size: 10, delta: 1 },
        ),
      ),
    )
    assert.ok(outcomes.every(outcome => outcome.done))
    assert.equal((await bench.read(node(ROOT_INO)))?.nlink, 42)
    assert.equal(await bench.read(counter('usedSpace')), 40 * 4096)
    assert.deepEqual(await bench.read({ kind: 'dirUsage', ino: ROOT_INO }), { length: 0, space: 40 * 4096, inodes: 40 })
    assert.equal((await bench.read(chunk(FIVE, 0)))?.length, 40 * 24)
    assert.equal(await bench.read({ kind: 'sliceRefs', id: 1, size: 10 }), 41)
    assert.equal((await bench.scan('entries', { parent: ROOT_INO, attrs: true }, 7)).length, 40)
  })
}
