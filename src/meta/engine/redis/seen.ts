/** Which numbers have come by already. Redis may list a key twice while its tables grow or shrink; what is counted must be
 *  counted once. Numbers lie close together (inodes, slice ids): a bit each, in small pages. */

const PAGE_BITS = 256

export class SeenNumbers {
  readonly #pages = new Map<number, Uint32Array>()

  /** Is this the first time? */
  add(n: number): boolean {
    const index = Math.floor(n / PAGE_BITS)
    let page = this.#pages.get(index)
    if (page === undefined) this.#pages.set(index, (page = new Uint32Array(PAGE_BITS / 32)))
    const bit = n - index * PAGE_BITS
    const [word, mask] = [bit >>> 5, 1 << (bit & 31)]
    if ((page[word]! & mask) !== 0) return false
    page[word]! |= mask
    return true
  }
}
