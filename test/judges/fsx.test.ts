/** fsx: random reads, writes, truncates, mapped access, hole punching, copies on one file, against its own model of it. */

import { after, before, describe, it } from 'node:test'
import { mountedVolume, type TestVolume } from '../mount/harness.ts'
import { missing, size } from './judges.ts'
import { runFsx } from './runs.ts'

const seeds = size([1, 2], [1, 2, 3, 4, 5])
const operations = size(3_000, 14_000)

for (const [how, options, defaultCache] of [
  ['buffered, with all defaults', [], true], // so the bucket is its own cache
  ['buffered', [], false],
  ['with direct I/O forced by a mount option', ['-o', 'direct_io'], false],
  ['with the kernel write-back cache', ['-o', 'writeback_cache'], false],
] as const) {
  describe(`fsx ${how}`, { skip: missing('fsx') }, () => {
    let volume: TestVolume
    before(() => {
      // With the trash on, what compaction replaces would be kept for a day: the run would fill the disk.
      volume = mountedVolume({ format: ['--trash-days', '0'], mount: options, defaultCache })
    })
    after(() => volume.remove())

    for (const seed of seeds) {
      it(`finds no difference in ${operations} operations of seed ${seed}`, () => runFsx(volume, seed, operations))
    }
  })
}
