/** What the operations of one transaction add to usage, directory statistics and quotas, summed: one UPDATE a record at
 *  the COMMIT, in the same transaction, so the numbers are exact after a crash (the reference flushes them later). */

import type { Ino } from '../../../base/ino.ts'
import type { QuotaType } from '../../facts.ts'
import type { Summed, Writer } from './commit.ts'

export class UsageSums {
  readonly #writer: Writer
  #space = 0
  #inodes = 0
  readonly #dirs = new Map<Ino, { length: number; space: number; inodes: number }>()
  readonly #quotas = new Map<string, { type: QuotaType; key: number; space: number; inodes: number }>()

  constructor(writer: Writer) {
    this.#writer = writer
  }

  add(change: Summed): void {
    const { space, inodes } = change
    if (change.kind === 'usage') {
      this.#space += space
      this.#inodes += inodes
    } else if (change.kind === 'dirUsage') {
      const sum = entry(this.#dirs, change.ino, () => ({ length: 0, space: 0, inodes: 0 }))
      sum.length += change.length
      sum.space += space
      sum.inodes += inodes
    } else {
      const { type, key } = change
      const sum = entry(this.#quotas, `${type} ${key}`, () => ({ type, key, space: 0, inodes: 0 }))
      sum.space += space
      sum.inodes += inodes
    }
  }

  /** Writes the sums and starts from zero. */
  flush(): void {
    this.#writer.addUsage(this.#space, this.#inodes)
    for (const [ino, { length, space, inodes }] of this.#dirs) this.#writer.addDirUsage(ino, length, space, inodes)
    for (const { type, key, space, inodes } of this.#quotas.values()) {
      this.#writer.addQuotaUsage(type, key, space, inodes)
    }
    this.#space = 0
    this.#inodes = 0
    this.#dirs.clear()
    this.#quotas.clear()
  }
}

function entry<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key)
  if (value === undefined) map.set(key, (value = make()))
  return value
}
