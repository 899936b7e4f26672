/** Is this bucket the volume's own? `format` leaves the volume's UUID in it; `mount` looks whether it is there. JuiceFS never
 *  looks: a disk that is not mounted, or the bucket of another volume of that name, is found out when files are read, or never. */

import { setTimeout as sleep } from 'node:timers/promises'
import { causeText } from '../base/fault.ts'
import type { Log } from '../base/log.ts'
import type { Format } from '../meta/model/format.ts'
import { ObjectMissing, type ObjectStore } from '../object/store.ts'
import { CommandError } from './exit.ts'

export const UUID_OBJECT = 'juicefs_uuid'
/** a store that does not answer is no reason not to mount: what is cached can be read */
const ANSWER_MS = 10_000

/** CommandError where the bucket belongs to another volume, or is empty. Whatever is less certain is a warning. Not asked: a
 *  storage that lives as long as this process, and where JFS_NO_CHECK_OBJECT_STORAGE says not to. */
export async function checkBucketOwner(store: ObjectStore, format: Format, log: Log): Promise<void> {
  if (format.Storage === 'mem' || process.env.JFS_NO_CHECK_OBJECT_STORAGE) return
  let owner: string | null
  try {
    owner = await Promise.race([ownerOf(store), sleep(ANSWER_MS, undefined, { ref: false })]).then(found => {
      if (found === undefined) throw new Error(`no answer within ${ANSWER_MS / 1000} seconds`)
      return found
    })
  } catch (error) {
    log.warn(`cannot tell whether ${store.description} is the bucket of this volume: ${causeText(error)}`)
    return
  }
  const hint = 'JFS_NO_CHECK_OBJECT_STORAGE=1 mounts it all the same'
  if (owner === EMPTY)
    throw new CommandError(`${store.description} is empty: the bucket of this volume is not there (${hint})`)
  if (owner === null) log.warn(`${store.description} has no object ${UUID_OBJECT}: whose bucket it is cannot be told`)
  else if (owner !== format.UUID)
    throw new CommandError(`${store.description} is the bucket of volume ${owner}, not of ${format.UUID} (${hint})`)
}

const EMPTY = ''

/** The UUID that stands in the bucket; null where none stands, EMPTY where nothing at all does. */
async function ownerOf(store: ObjectStore): Promise<string | null> {
  try {
    return (await store.get(UUID_OBJECT)).toString('latin1').trim()
  } catch (error) {
    if (!(error instanceof ObjectMissing)) throw error
  }
  const found = await store.list('', '', 10)
  return found.some(each => !each.isDirectory) ? null : EMPTY
}
