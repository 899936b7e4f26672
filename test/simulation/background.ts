/** The work behind the scenes that any client may do at any time: merging slices, forgetting what was removed, emptying the
 *  trash, ending the sessions of those who crashed. All of it is found in stored records. */

import { ENOENT, isErrno } from '../../src/base/errno.ts'
import { NO_INO, TRASH_INO } from '../../src/base/ino.ts'
import { chunk } from '../../src/meta/facts.ts'
import { TYPE_DIRECTORY } from '../../src/meta/model/attr.ts'
import { systemCaller } from '../../src/meta/model/caller.ts'
import { decodeRecords, SLICE_RECORD_BYTES } from '../../src/meta/model/slice.ts'
import { commitCompaction, planCompaction } from '../../src/meta/ops/compact.ts'
import { dropChunk, dropTrashedSlices, forgetDeadFile, forgetSlice } from '../../src/meta/ops/dead-file.ts'
import { rmdir } from '../../src/meta/ops/rmdir.ts'
import { dropSession, releaseSustained } from '../../src/meta/ops/session.ts'
import type { SliceName } from '../../src/meta/rules/slice-refs.ts'
import { isPastHour } from '../../src/meta/rules/trash.ts'
import type { Client } from './client.ts'

export const background = { compact, cleanSession, deleteDead, deleteUnused, expireSlices, emptyTrash } as const

async function compact(client: Client) {
  const { random, volume, nowSec } = client.world
  const [ino, index] = [client.file(), random.pick([0, 0, 1])]
  const [before] = (await client.engine.gather([chunk(ino, index)], 'look')) as [Buffer | null]
  const plan = before === null ? null : planCompaction(decodeRecords(before))
  if (before === null || plan === null) return ENOENT
  const id = await client.store()
  const merged = { pos: plan.pos, id, size: plan.size, off: 0, len: plan.size }
  const bytes = plan.skipped * SLICE_RECORD_BYTES
  const options = { trash: random.oneIn(2), at: nowSec }
  const done = await client.change(() => commitCompaction(volume, ino, index, before, bytes, merged, options), ino)
  if (isErrno(done)) client.world.objects.delete(id)
  else await deleteSlices(client, done.unused)
  return done
}

/** Somebody crashed: their session is over. */
async function cleanSession(client: Client) {
  const [sid] = client.world.stale
  if (sid === undefined) return ENOENT
  await endSession(client, sid)
  client.world.stale.delete(sid)
  return undefined
}

async function deleteDead(client: Client) {
  const { rows } = await client.engine.scan('deadFiles', { before: 2 ** 40 }, null, 20)
  if (rows.length === 0) return ENOENT
  const { ino } = client.world.random.pick(rows)
  const chunks = await client.engine.scan('chunks', { ino }, null, 1000)
  for (const { index } of chunks.rows) {
    const dropped = await client.change(() => dropChunk(ino, index), ino)
    if (!isErrno(dropped)) await deleteSlices(client, dropped.unused)
  }
  return await client.change(() => forgetDeadFile(ino), ino)
}

async function deleteUnused(client: Client) {
  const { rows } = await client.engine.scan('unusedSlices', {}, null, 20)
  await deleteSlices(client, rows)
  return rows.length === 0 ? ENOENT : undefined
}

async function expireSlices(client: Client) {
  const { rows } = await client.engine.scan('trashedSlices', { before: 2 ** 40 }, null, 20)
  if (rows.length === 0) return ENOENT
  const { id, at } = client.world.random.pick(rows)
  const dropped = await client.change(() => dropTrashedSlices(id, at))
  if (!isErrno(dropped)) await deleteSlices(client, dropped.unused)
  return dropped
}

async function emptyTrash(client: Client) {
  const caller = systemCaller(client.world.caller().now)
  const hours = await client.engine.scan('entries', { parent: TRASH_INO, attrs: false }, null, 10)
  const past = hours.rows.filter(({ name }) => isPastHour(TRASH_INO, name, caller.now))
  if (past.length === 0) return ENOENT
  const { ino, name } = client.world.random.pick(past)
  const forReal = { trash: NO_INO, isOpen: client.isOpen, sid: client.sid }
  const entries = await client.engine.scan('entries', { parent: ino, attrs: false }, null, 20)
  for (const entry of entries.rows) {
    if (entry.type !== TYPE_DIRECTORY) await client.remove(caller, ino, entry.name, forReal)
    else await client.change(() => rmdir(client.world.volume, caller, ino, entry.name, forReal), ino)
  }
  return await client.change(() => rmdir(client.world.volume, caller, TRASH_INO, name, forReal), TRASH_INO)
}

export async function endSession(client: Client, sid: number): Promise<void> {
  const { rows } = await client.engine.scan('sustained', { sid }, null, 1000)
  const { now } = client.world.caller()
  for (const { ino } of rows) await client.change(() => releaseSustained(client.world.volume, sid, ino, now), ino)
  await client.change(() => dropSession(sid))
}

async function deleteSlices(client: Client, slices: readonly SliceName[]): Promise<void> {
  for (const { id, size } of slices) {
    await client.scheduler.later(client.id, () => client.world.objects.delete(id))
    await client.change(() => forgetSlice(id, size))
  }
}
