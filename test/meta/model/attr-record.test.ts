import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Fault } from '../../../src/base/fault.ts'
import { type Ino, NO_INO, ROOT_INO, TRASH_INO } from '../../../src/base/ino.ts'
import { decodeAclRule, encodeAclRule } from '../../../src/meta/model/acl-record.ts'
import { decodeAttr, encodeAttr } from '../../../src/meta/model/attr-record.ts'
import { file, ACL_RULE as rule } from '../../conformance/engine/harness.ts'

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/\s/g, ''), 'hex')
const FIVE = 5 as Ino

/** The worked example of the format: a regular file 0674, two hard links, access ACL id 1. */
const example = hex(`
  00 11bc 00000000 00000000 000000006b014391 2a8e3a6a 000000006b014391 2ab139d4 000000006b014391 2c61affe
  00000002 0000000000000005 00000000 0000000000000000 00000001 00000000 00`)

describe('attribute records', () => {
  it('are read as the format describes them, and written back byte for byte', () => {
    const attr = decodeAttr(FIVE, example)
    assert.deepEqual(attr, {
      type: 1,
      flags: 0,
      mode: 0o674,
      uid: 0,
      gid: 0,
      atime: { sec: 1795244945, nsec: 713964138 },
      mtime: { sec: 1795244945, nsec: 716257748 },
      ctime: { sec: 1795244945, nsec: 744599550 },
      nlink: 2,
      length: 5,
      rdev: 0,
      parent: NO_INO,
      accessAcl: 1,
      defaultAcl: 0,
      tier: 0,
    })
    assert.deepEqual(encodeAttr(attr, null), example)
    assert.deepEqual(encodeAttr(attr, example), example)
  })

  it('have 72, 73, 80 or 81 bytes by what they hold', () => {
    const sizes = [{}, { tier: 1 }, { defaultAcl: 1 }, { accessAcl: 1, tier: 1 }].map(
      fields => encodeAttr(file(fields), null).length,
    )
    assert.deepEqual(sizes, [72, 73, 80, 81])
  })

  it('come back whole at the ends of every field', () => {
    for (const attr of [
      file({
        mode: 0o7777,
        uid: 2 ** 32 - 1,
        gid: 2 ** 32 - 2,
        nlink: 2 ** 32 - 1,
        length: 2 ** 53 - 1,
        rdev: 2 ** 32 - 1,
      }),
      file({ parent: (TRASH_INO + 9) as Ino, tier: 255, accessAcl: 2 ** 32 - 1, flags: 255 }),
      file({
        atime: { sec: -1, nsec: 999_999_999 },
        mtime: { sec: -(2 ** 40), nsec: 1 },
        ctime: { sec: 2 ** 40, nsec: 0 },
      }),
    ]) {
      assert.deepEqual(decodeAttr(FIVE, encodeAttr(attr, null)), attr)
    }
  })

  it('of old clients are read: 63 bytes without a parent, 71 with one', () => {
    const attr = file({ parent: ROOT_INO, length: 77 })
    const whole = encodeAttr(attr, null)
    assert.deepEqual(decodeAttr(FIVE, whole.subarray(0, 71)), attr)
    assert.deepEqual(decodeAttr(FIVE, whole.subarray(0, 63)), { ...attr, parent: NO_INO })
  })

  it('keep bytes that a newer client put behind the tier', () => {
    const attr = file({ tier: 3, accessAcl: 9 })
    const newer = Buffer.concat([encodeAttr(attr, null).subarray(0, 80), hex('aabbcc00')])
    assert.deepEqual(decodeAttr(FIVE, newer), attr)
    const rewritten = encodeAttr({ ...attr, accessAcl: 0, tier: 0, uid: 7 }, newer)
    assert.deepEqual(rewritten.subarray(80), hex('aabbcc00'))
    assert.deepEqual(decodeAttr(FIVE, rewritten), { ...attr, accessAcl: 0, tier: 0, uid: 7 })
  })

  it('that are damaged are a fault that names the inode', () => {
    assert.throws(() => decodeAttr(FIVE, example.subarray(0, 62)), /node record of inode 5 is damaged: 62 bytes/)
    assert.throws(() => decodeAttr(FIVE, Buffer.alloc(72)), /inode 5 is damaged: type 0/)
  })
})

describe('records of ACL rules', () => {
  const bytes = hex('0006 0004 0007 0004 00000001 000003e8 0007 00000001 000007d0 0005')

  it('are read and written as the format describes them', () => {
    assert.deepEqual(decodeAclRule(bytes), rule)
    assert.deepEqual(encodeAclRule(rule), bytes)
  })

  it('that end too early are a fault', () => {
    for (const length of [0, 7, 11, 17, 21, 27]) assert.throws(() => decodeAclRule(bytes.subarray(0, length)), Fault)
  })
})
