/** The two hashes by which a cached block finds its directory (spec disk-cache section 3.4), to the bit: JuiceFS looks for its
 *  blocks by the same ones. Both take ASCII text and give an unsigned 32-bit number. */

/** Murmur3, x86, 32 bits, seed 0. */
export function murmur3(text: string): number {
  const length = text.length
  let hash = 0
  let at = 0
  for (; at + 4 <= length; at += 4) {
    const word =
      text.charCodeAt(at) |
      (text.charCodeAt(at + 1) << 8) |
      (text.charCodeAt(at + 2) << 16) |
      (text.charCodeAt(at + 3) << 24)
    hash ^= scramble(word)
    hash = (Math.imul((hash << 13) | (hash >>> 19), 5) + 0xe6546b64) | 0
  }
  let tail = 0
  for (let i = length - 1; i >= at; i--) tail = (tail << 8) | text.charCodeAt(i)
  hash ^= scramble(tail) ^ length
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

function scramble(word: number): number {
  const product = Math.imul(word, 0xcc9e2d51)
  return Math.imul((product << 15) | (product >>> 17), 0x1b873593)
}

/** FNV-1 (not 1a): multiplies first. */
export function fnv1(text: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash, 0x01000193) ^ text.charCodeAt(i)
  return hash >>> 0
}
