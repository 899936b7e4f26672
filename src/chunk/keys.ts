/** How a slice becomes blocks and blocks become object keys (spec data-objects section 1.1). All numbers decimal. */

import { assert } from '../base/assert.ts'
import type { SliceName } from './chunk-store.ts'

/** A slice never crosses its chunk, so it is at most one chunk long. */
export const MAX_SLICE_BYTES = 2 ** 26

const countBlocks = (sliceBytes: number, blockBytes: number): number => Math.ceil(sliceBytes / blockBytes)

/** Plain bytes of block `index`: full blocks, and what remains in the last one. */
export const blockLength = (sliceBytes: number, index: number, blockBytes: number): number =>
  Math.min(blockBytes, sliceBytes - index * blockBytes)

/** One block: one object, one file in the disk cache. */
export interface Block {
  readonly id: number
  readonly index: number
  /** plain bytes, as the object's name says */
  readonly length: number
}

/** Of a block in maps. A number while the sum stays exact (ids below 2^43), which costs a third of a string. */
export type BlockKey = number | string

const MAX_BLOCKS = 1024 // 64 MiB in blocks of 64 KiB
const MAX_NUMERIC_ID = 2 ** 43

export const blockKey = (id: number, index: number): BlockKey =>
  id < MAX_NUMERIC_ID ? id * MAX_BLOCKS + index : `${id}_${index}`

/** The object's key below the volume prefix. */
export function objectKey({ id, index, length }: Block, hashPrefix: boolean): string {
  const millions = Math.floor(id / 1_000_000)
  if (hashPrefix) {
    const bucket = (id % 256).toString(16).toUpperCase().padStart(2, '0')
    return `chunks/${bucket}/${millions}/${id}_${index}_${length}`
  }
  return `chunks/${millions}/${Math.floor(id / 1000)}/${id}_${index}_${length}`
}

/** From the last component of an object key; null where it names no block. */
export function parseBlockName(name: string): Block | null {
  const match = /^(\d{1,16})_(\d{1,4})_(\d{1,8})$/.exec(name)
  if (match === null) return null
  const [id, index, length] = [Number(match[1]), Number(match[2]), Number(match[3])]
  return Number.isSafeInteger(id) && id > 0 && index < MAX_BLOCKS && length > 0 ? { id, index, length } : null
}

/** A slice of the volume, or a bug or a damaged record. */
export function checkSlice({ id, size }: SliceName): void {
  assert(Number.isSafeInteger(id) && id > 0, `slice id ${id} names objects`)
  assert(Number.isInteger(size) && size >= 0 && size <= MAX_SLICE_BYTES, `slice ${id} has a size (${size})`)
}

/** Every block of a slice, in order. */
export function blocksOf(slice: SliceName, blockBytes: number): Block[] {
  const blocks: Block[] = []
  const count = countBlocks(slice.size, blockBytes)
  for (let index = 0; index < count; index++) {
    blocks.push({ id: slice.id, index, length: blockLength(slice.size, index, blockBytes) })
  }
  return blocks
}
