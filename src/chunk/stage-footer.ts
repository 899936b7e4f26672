/** What may stand at the end of a staged file (spec disk-cache section 2.1): the storage tier, where it is not the default.
 *
 *      46 53 | u16 length | MessagePack { "tier": uint8, "pad": bin }
 *
 *  The pad makes the length of the file say whether there are checksums before it. This client writes only the default tier, so
 *  it reads footers and writes none. */

const MAGIC = 0x4653
const HEAD_BYTES = 4
const MOST_TIERS = 3

/** The tier that a footer names, 0 where there is none; null where the bytes are no footer. Unknown tiers count as 0. */
export function tierIn(footer: Buffer): number | null {
  if (footer.length === 0) return 0
  if (footer.length <= HEAD_BYTES || footer.readUInt16BE(0) !== MAGIC) return null
  const map = footer.subarray(HEAD_BYTES)
  if (map.length !== footer.readUInt16BE(2)) return null
  try {
    const tier = readMap(map).get('tier')
    return typeof tier === 'number' && tier <= MOST_TIERS ? tier : 0
  } catch {
    return null // a RangeError: it ends too early
  }
}

/** Of MessagePack, as much as footers consist of: a small map of short texts to small numbers and bytes. */
function readMap(bytes: Buffer): Map<string, number | Buffer> {
  const map = new Map<string, number | Buffer>()
  let at = 0
  const next = (): number => bytes.readUInt8(at++)
  const take = (length: number): Buffer => {
    if (at + length > bytes.length) throw new RangeError('the footer ends early')
    at += length
    return bytes.subarray(at - length, at)
  }
  const head = next()
  if (head >> 4 !== 0x8) throw new RangeError('a footer is a map')
  for (let left = head & 0xf; left > 0; left--) {
    const key = next()
    if (key >> 5 !== 0b101) throw new RangeError('keys are short texts')
    const name = take(key & 0x1f).toString('latin1')
    const kind = next()
    if (kind < 0x80) map.set(name, kind)
    else if (kind === 0xcc) map.set(name, next())
    else if (kind === 0xc4) map.set(name, take(next()))
    else throw new RangeError(`a footer has no values of kind ${kind}`)
  }
  return map
}
