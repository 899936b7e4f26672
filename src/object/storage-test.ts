/** Is this store usable? Asked by `format` and by `mount --check-storage` (spec data-objects section 7). */

import { setTimeout as sleep } from 'node:timers/promises'
import { causeText, Fault } from '../base/fault.ts'
import { type ObjectStore, Refused, Unreachable } from './store.ts'

const LETTERS = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'
const TEST_BYTES = 100
const PAUSES_MS = [1000, 4000, 7000] as const

export interface StorageTestHooks {
  /** told of each failed try */
  readonly warn?: (message: string) => void
  readonly pause?: (ms: number) => Promise<unknown>
}

/** Puts, gets, compares and deletes 100 random bytes under `testing/`; makes the bucket where there is none. Three tries; two of a
 *  store that cannot be reached, which takes its time to show; one of a store that refuses us. Throws a Fault with the last failure,
 *  which names the request that failed. */
export async function testStorage(
  store: ObjectStore,
  random: () => number,
  hooks: StorageTestHooks = {},
): Promise<void> {
  const pause = hooks.pause ?? sleep
  let failure: unknown
  for (const [index, pauseMs] of PAUSES_MS.entries()) {
    try {
      await tryOnce(store, random, hooks.warn)
      // only a directory of the file storage: others have nothing under this key
      await store.delete('testing/').catch(() => {})
      return
    } catch (error) {
      failure = error
      hooks.warn?.(`Test storage ${store.description} failed: ${causeText(error)}, tries: #${index + 1}`)
      if (error instanceof Refused || (index > 0 && isUnreachable(error))) break
    }
    if (index < PAUSES_MS.length - 1) await pause(pauseMs)
  }
  throw new Fault(`storage ${store.description} is not configured correctly`, { cause: failure })
}

/** No object but those of the storage test below the prefix: nobody else's volume lives here. */
export async function isEmptyForFormat(store: ObjectStore): Promise<boolean> {
  let marker = ''
  for (;;) {
    const page = await store.list('', marker, store.limits.maxListPage)
    for (const { key, size, isDirectory } of page) {
      if (!isDirectory && size > 0 && key !== 'testing' && !key.startsWith('testing/')) return false
    }
    const last = page.at(-1)
    if (last === undefined || page.length < store.limits.maxListPage) return true
    marker = last.key
  }
}

async function tryOnce(store: ObjectStore, random: () => number, warn?: (message: string) => void): Promise<void> {
  let key = 'testing/'
  for (let i = 0; i < 10; i++) key += LETTERS[Math.floor(random() * LETTERS.length)]
  const bytes = Buffer.from(Array.from({ length: TEST_BYTES }, () => Math.floor(random() * 256)))
  try {
    await store.put(key, bytes)
  } catch (error) {
    if (error instanceof Refused || isUnreachable(error) || /denied/i.test(causeText(error))) throw error
    await store.create().catch(problem => {
      throw keepKind(problem, `${causeText(error)}; the bucket cannot be made either, please create it`)
    })
    await store.put(key, bytes)
  }
  const back = await store.get(key)
  if (!back.equals(bytes)) throw new Fault(`object ${key} came back with other bytes`)
  await store.delete(key).catch(error => warn?.(`delete ${key}: ${causeText(error)}`))
}

function isUnreachable(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) if (at instanceof Unreachable) return true
  return false
}

const keepKind = (problem: unknown, doing: string): Fault =>
  problem instanceof Refused ? new Refused(doing, problem) : new Fault(doing, { cause: problem })
