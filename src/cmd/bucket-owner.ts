/** Is this bucket the volume's own? `format` leaves the volume's UUID in it; whoever is about to use a bucket looks whether it is
 *  there. JuiceFS never looks: a disk that is not mounted, or the bucket of another volume of that name, is found out when files are
 *  read, or never. */

import { setTimeout as sleep } from 'node:timers/promises'
import { causeText } from '../base/fault.ts'
import type { Log } from '../base/log.ts'
import type { Format } from '../meta/model/format.ts'
import { ObjectMissing, type ObjectStore, Undecryptable } from '../object/store.ts'
import { CommandError } from './exit.ts'

export const UUID_OBJECT = 'juicefs_uuid'
const UUID = /^[0-9a-f-]{36}$/i
/** a store that does not answer is no reason not to mount: what is cached can be read */
const ANSWER_MS = 10_000

/** `own`: or nothing says otherwise. `why` is a sentence for people. */
export type Ownership =
  | { readonly kind: 'own' }
  | { readonly kind: 'foreign' | 'empty' | 'unknown' | 'unnamed'; readonly why: string }

/** Never rejects. Not asked, and taken for our own: a storage that lives as long as this process, and where
 *  JFS_NO_CHECK_OBJECT_STORAGE says not to. `unknown`: it does not answer; `unnamed`: it holds objects, and no UUID. */
export async function bucketOwnership(store: ObjectStore, format: Format): Promise<Ownership> {
  if (format.Storage === 'mem' || process.env.JFS_NO_CHECK_OBJECT_STORAGE) return { kind: 'own' }
  const { description } = store
  try {
    const owner = await Promise.race([ownerOf(store), sleep(ANSWER_MS, undefined, { ref: false })])
    if (owner === undefined) throw new Error(`no answer within ${ANSWER_MS / 1000} seconds`)
    if (owner === format.UUID) return { kind: 'own' }
    if (owner === EMPTY) {
      return { kind: 'empty', why: `${description} is empty: the bucket of this volume is not there` }
    }
    if (owner === null) {
      return { kind: 'unnamed', why: `${description} has no object ${UUID_OBJECT}: whose bucket it is cannot be told` }
    }
    const why = UUID.test(owner)
      ? `${description} is the bucket of volume ${owner}, not of ${format.UUID}`
      : `${description} is not the bucket of volume ${format.UUID}: its ${UUID_OBJECT} holds no UUID`
    return { kind: 'foreign', why }
  } catch (error) {
    if (error instanceof Undecryptable) {
      return { kind: 'foreign', why: `${description} is not the bucket of this volume: ${causeText(error)}` }
    }
    return {
      kind: 'unknown',
      why: `cannot tell whether ${description} is the bucket of this volume: ${causeText(error)}`,
    }
  }
}

/** Before a mount: CommandError where the bucket belongs to another volume, or is empty. Whatever is less certain is a warning. */
export async function checkBucketOwner(store: ObjectStore, format: Format, log: Log): Promise<void> {
  const found = await bucketOwnership(store, format)
  if (found.kind === 'own') return
  if (found.kind === 'unknown' || found.kind === 'unnamed') return log.warn(found.why)
  throw new CommandError(`${found.why} (JFS_NO_CHECK_OBJECT_STORAGE=1 mounts it all the same)`)
}

const EMPTY = ''

/** What stands in the bucket as UUID; null where nothing stands, EMPTY where it holds nothing at all. */
async function ownerOf(store: ObjectStore): Promise<string | null> {
  try {
    return (await store.get(UUID_OBJECT)).toString('latin1').trim()
  } catch (error) {
    if (!(error instanceof ObjectMissing)) throw error
  }
  const found = await store.list('', '', 10)
  return found.some(each => !each.isDirectory) ? null : EMPTY
}
