/** Strengths by change; how each compares is in the conformance suite, which every engine passes. */

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Ino } from '../../src/base/ino.ts'
import type { Strength } from '../../src/meta/engine.ts'
import { type Change, type Dentry, dentry, type Fact, node, type Read, xattr } from '../../src/meta/facts.ts'
import { guardsOf, holds } from '../../src/meta/guard.ts'
import { directory, file } from '../conformance/engine/harness.ts'

const [FIVE, SIX] = [5 as Ino, 6 as Ino]
const later = { sec: 9, nsec: 0 }
const found: Dentry = { ino: FIVE, type: 1, attr: file() }
const put: Change = { kind: 'putNode', ino: FIVE, attr: file() }
const remove: Change = { kind: 'delNode', ino: FIVE }
const extend: Change = { kind: 'extendNode', ino: FIVE, length: 1, mtime: later, ctime: later }
const adjust: Change = { kind: 'adjustDir', ino: FIVE, nlink: 1, at: later }

const strengthOf = (read: Read, fact: Fact, ...changes: Change[]): Strength =>
  guardsOf([read], [fact], changes)[0]!.strength
const holdsFor = (read: Read, fact: Fact, now: Fact, strength: Strength = 'exact'): boolean =>
  holds({ read, fact, strength }, now)

describe('guards', () => {
  it('are exact on a node that is rewritten or removed, whether it was read by number or by name', () => {
    for (const change of [put, remove]) {
      assert.equal(strengthOf(node(FIVE), file(), change), 'exact')
      assert.equal(strengthOf(dentry(SIX, 'a'), found, change), 'exact')
      assert.equal(strengthOf(node(FIVE), file(), extend, change), 'exact')
    }
  })

  it('keep the length of a file that is extended', () => {
    assert.equal(strengthOf(node(FIVE), file(), extend), 'length')
    assert.equal(strengthOf(dentry(SIX, 'a'), found, extend), 'length')
  })

  it('ask for no more than identity of nodes that were looked at or adjusted', () => {
    assert.equal(strengthOf(node(FIVE), directory(), adjust), 'identity')
    assert.equal(strengthOf(node(SIX), directory(), put), 'identity')
    assert.equal(strengthOf(dentry(SIX, 'a'), null, put), 'identity')
  })

  it('break when something comes where nothing was, or goes', () => {
    assert.equal(holdsFor(node(FIVE), null, file()), false)
    assert.equal(holdsFor(node(FIVE), file(), null), false)
    assert.equal(holdsFor(dentry(SIX, 'a'), null, found), false)
    assert.equal(holdsFor(dentry(SIX, 'a'), found, null), false)
    assert.equal(holdsFor(dentry(SIX, 'a'), found, { ...found, attr: null }), false)
    assert.equal(holdsFor(xattr(FIVE, 'a'), null, Buffer.alloc(0)), false)
    assert.equal(holdsFor(node(FIVE), null, null), true)
  })

  it('break when an entry names another node, or its directory is not empty any more', () => {
    assert.equal(holdsFor(dentry(SIX, 'a'), found, { ...found, ino: SIX }, 'identity'), false)
    assert.equal(holdsFor(dentry(SIX, 'a'), found, { ...found, type: 2 }, 'identity'), false)
    const empty = { ...found, empty: true }
    assert.equal(holdsFor(dentry(SIX, 'a', true), empty, { ...found, empty: false }, 'identity'), false)
    assert.equal(holdsFor(dentry(SIX, 'a', true), empty, { ...empty, attr: file() }, 'exact'), true)
  })

  it('compare lists and records by value', () => {
    const parents = { kind: 'parents', ino: FIVE } as const
    assert.equal(holdsFor(parents, [{ parent: SIX, count: 1 }], [{ parent: SIX, count: 1 }]), true)
    assert.equal(holdsFor(parents, [{ parent: SIX, count: 1 }], [{ parent: SIX, count: 2 }]), false)
    assert.equal(holdsFor(parents, [{ parent: SIX, count: 1 }], []), false)
    assert.equal(holdsFor(xattr(FIVE, 'a'), Buffer.from('x'), Buffer.from('x')), true)
    assert.equal(holdsFor(xattr(FIVE, 'a'), Buffer.from('x'), Buffer.from('y')), false)
  })

  it('do not ask after ids of ACL rules, which are never taken back', () => {
    const rule = { owner: 7, group: 7, mask: 7, other: 7, namedUsers: [], namedGroups: [] }
    assert.equal(holdsFor({ kind: 'aclId', rule }, 1, 2), true)
  })
})
