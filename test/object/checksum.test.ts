import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, it } from 'node:test'
import { crc32c } from '@node-rs/crc32'
import { Fault } from '../../src/base/fault.ts'
import { checksumOf, verifyChecksum } from '../../src/object/checksum.ts'

describe('the checksum of an object', () => {
  it('is CRC-32C (Castagnoli) as an unsigned decimal number', () => {
    // the check value of the catalogue, 0xE3069283
    assert.equal(checksumOf(Buffer.from('123456789')), '3808858755')
    assert.equal(checksumOf(Buffer.alloc(0)), '0')
    // 32 bytes of zeros: RFC 3720 appendix B.4, 0x8A9136AA
    assert.equal(checksumOf(Buffer.alloc(32)), '2324772522')
  })
  it('is the same whatever computes it, for every length and place in memory', () => {
    const bytes = randomBytes(200_000)
    for (const length of [1, 7, 8, 9, 8191, 8192, 32_767, 32_768, 32_769, 65_536, 65_543, 163_840]) {
      for (const from of [0, 1, 3, 4093]) {
        const part = bytes.subarray(from, from + length)
        assert.equal(checksumOf(part), String(crc32c(part)), `${length} bytes from ${from}`)
      }
    }
  })
  it('that differs is a fault that names the object', () => {
    assert.throws(
      () => verifyChecksum('chunks/0/0/1_0_9', Buffer.from('12345678x'), '3808858755'),
      (error: unknown) =>
        error instanceof Fault && !error.isPermanent && /object chunks\/0\/0\/1_0_9: its checksum/.test(error.message),
    )
  })
  it('that is equal, or that the store does not have, lets the bytes pass', () => {
    verifyChecksum('k', Buffer.from('123456789'), '3808858755')
    verifyChecksum('k', Buffer.from('anything'), undefined)
    verifyChecksum('k', Buffer.from('anything'), '')
  })
})
