/** Random numbers that can be had again: everything follows from the seed. */

export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** 0 ≤ x < 1 (mulberry32) */
  readonly next = (): number => {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }

  /** 0 … n − 1 */
  below(n: number): number {
    return Math.floor(this.next() * n)
  }

  /** True once in `n` times. */
  oneIn(n: number): boolean {
    return this.below(n) === 0
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!
  }

  /** The first ones more often: half of the picks come from the first quarter. */
  skewed<T>(items: readonly T[]): T {
    return items[Math.floor(items.length * this.next() ** 2)]!
  }

  /** A key, each as often as its weight says. */
  weighted<K extends string>(weights: Readonly<Record<K, number>>): K {
    const entries = Object.entries(weights) as [K, number][]
    let at = this.next() * entries.reduce((sum, [, weight]) => sum + weight, 0)
    for (const [key, weight] of entries) if ((at -= weight) < 0) return key
    return entries[entries.length - 1]![0]
  }

  /** Near a power of two, where the edges are. */
  nearPowerOfTwo(maxShift: number): number {
    return Math.max(0, 2 ** this.below(maxShift + 1) + this.below(3) - 1)
  }
}

/** From the environment, or a new one; tests print it. */
export const seedOf = (name = 'SEED'): number => Number(process.env[name] ?? Math.floor(Math.random() * 2 ** 31))
