/** Several buckets as one store (`--shards`, spec data-objects section 3): a hash of its whole key decides in which bucket an object
 *  lies. Neither the number of buckets nor their order can ever change. */

import { EINVAL } from '../base/errno.ts'
import { Fault } from '../base/fault.ts'
import type { ObjectFiles, ObjectInfo, ObjectStore } from './store.ts'

/** The place of the number in a bucket's name, as printf writes integers: `%d`, `%02d`, `%x`. */
const VERB = /%(0?)(\d*)([dx])/g

/** The buckets' names. Fault where the pattern would name the same bucket twice. */
export function shardBuckets(pattern: string, count: number): string[] {
  const buckets = Array.from({ length: count }, (_, index) =>
    pattern.replace(VERB, (_verb, zero: string, width: string, base: string) =>
      index.toString(base === 'x' ? 16 : 10).padStart(Number(width), zero || ' '),
    ),
  )
  if (new Set(buckets).size < count) {
    throw new Fault(`can not generate different endpoint using ${pattern}: the bucket of ${count} shards contains %d`, {
      errno: EINVAL,
    })
  }
  return buckets
}

/** FNV-1a, 32 bits, of the key's bytes, modulo the number of buckets. The key is the one that the bucket sees, prefix included. */
export function shardOf(key: string, count: number): number {
  let hash = 0x811c9dc5
  for (const byte of Buffer.from(key)) hash = Math.imul(hash ^ byte, 0x01000193)
  return (hash >>> 0) % count
}

/** The stores in the order of their numbers. */
export function withShards(stores: readonly ObjectStore[], pattern: string): ObjectStore {
  const count = stores.length
  const storeOf = (key: string): ObjectStore => stores[shardOf(key, count)]!
  const maxListPage = Math.min(...stores.map(({ limits }) => limits.maxListPage))
  const wrapped: ObjectStore = {
    description: `shard${count}://${pattern}/`,
    limits: { rangeReads: stores.every(({ limits }) => limits.rangeReads), maxListPage },
    files: filesOf(stores),
    get: (key, range, expectedBytes) => storeOf(key).get(key, range, expectedBytes),
    put: (key, body) => storeOf(key).put(key, body),
    delete: key => storeOf(key).delete(key),
    head: key => storeOf(key).head(key),
    list: (prefix, marker, limit) => listMerged(stores, prefix, marker, limit, maxListPage),
    async create() {
      for (const store of stores) await store.create()
    },
    async close() {
      await Promise.all(stores.map(store => store.close()))
    },
  }
  if (stores.some(({ sync }) => sync !== undefined)) {
    wrapped.sync = async keys => {
      const parts: string[][] = stores.map(() => [])
      for (const key of keys) parts[shardOf(key, count)]!.push(key)
      await Promise.all(stores.map((store, i) => (parts[i]!.length > 0 ? store.sync?.(parts[i]!) : undefined)))
    }
  }
  return wrapped
}

/** Where each bucket keeps its objects as files. */
function filesOf(stores: readonly ObjectStore[]): ObjectFiles | undefined {
  const all = stores.flatMap(({ files }) => files ?? [])
  if (all.length < stores.length) return undefined
  return {
    directories: all.flatMap(({ directories }) => directories),
    pathOf: key => all[shardOf(key, all.length)]!.pathOf(key),
  }
}

/** One bucket's listing, read page by page as the merge needs it. */
interface Listing {
  readonly store: ObjectStore
  page: readonly ObjectInfo[]
  next: number
  isLast: boolean
}

/** The `limit` smallest keys of all buckets. Each bucket is asked for its share and a quarter more, again where that was not enough:
 *  keys spread evenly, so asking each for `limit` would read the listing of N buckets N times. */
async function listMerged(
  stores: readonly ObjectStore[],
  prefix: string,
  marker: string,
  limit: number,
  maxListPage: number,
): Promise<ObjectInfo[]> {
  const pageLimit = Math.min(maxListPage, Math.ceil((limit / stores.length) * 1.25) + 1)
  const read = async (listing: Listing, after: string): Promise<void> => {
    listing.page = await listing.store.list(prefix, after, pageLimit)
    listing.next = 0
    listing.isLast = listing.page.length < pageLimit
  }
  const listings = stores.map((store): Listing => ({ store, page: [], next: 0, isLast: false }))
  await Promise.all(listings.map(listing => read(listing, marker)))
  const merged: ObjectInfo[] = []
  while (merged.length < limit) {
    let smallest: Listing | undefined
    for (const listing of listings) {
      if (listing.next < listing.page.length && (!smallest || head(listing).key < head(smallest).key))
        smallest = listing
    }
    if (!smallest) break
    merged.push(head(smallest))
    smallest.next++
    // A used-up page is followed by the next at once: without it nobody knows what the smallest key is.
    if (merged.length < limit && smallest.next === smallest.page.length && !smallest.isLast)
      await read(smallest, merged.at(-1)!.key)
  }
  return merged
}

const head = ({ page, next }: Listing): ObjectInfo => page[next]!
