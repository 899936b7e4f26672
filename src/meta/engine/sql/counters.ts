/** Counters as SQL volumes keep them (spec meta-model section 4): `value` is the next free inode or slice id, but the last
 *  session and the last hour of the trash. */

/** The counters that a new volume starts with, in the order of the reference (spec meta-sql section 2). */
export const FIRST_COUNTERS: readonly (readonly [name: string, value: number])[] = [
  ['nextInode', 2],
  ['nextChunk', 1],
  ['nextSession', 0],
  ['usedSpace', 0],
  ['totalInodes', 0],
  ['nextCleanupSlices', 0],
]

/** What the first range starts at where the row is missing, and whether the number handed out is the value before or after. */
export const ID_COUNTERS = {
  nextInode: { base: 2, firstIsAfter: 0 },
  nextChunk: { base: 1, firstIsAfter: 0 },
  nextSession: { base: 0, firstIsAfter: 1 },
  nextTrash: { base: 0, firstIsAfter: 1 },
} as const
