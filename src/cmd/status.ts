/** `status META-URL`: one JSON document about a volume (spec cli section 7.1). */

import { SystemClock } from '../base/clock.ts'
import { type Ino, inoToString, ROOT_INO, TRASH_INO } from '../base/ino.ts'
import type { MetaClient } from '../meta/client.ts'
import { align4K, TYPE_DIRECTORY, TYPE_FILE } from '../meta/model/attr.ts'
import { secretsRemoved, tidyFormat } from '../meta/model/format.ts'
import { decodePlocks, TO_EOF } from '../meta/rules/plock.ts'
import { readSessionInfo } from '../meta/session.ts'
import { CommandError } from './exit.ts'
import type { Options } from './flags.ts'
import { log as terminalLog } from './terminal-log.ts'
import { commandConfig, openMeta } from './volume.ts'

/** bytes of one (id u64, size u32) in a record of trashed slices */
const ITEM_BYTES = 12
/** the end of the year 9999 */
const LAST_DATE_MS = 253_402_300_799_000

export async function run(options: Options, [metaUrl = '']: readonly string[]): Promise<number> {
  const log = terminalLog()
  const meta = await openMeta(metaUrl, { config: commandConfig, clock: new SystemClock(), log, random: Math.random })
  try {
    const sid = options.number('session')
    const document = sid > 0 ? await oneSession(meta, sid) : await volumeStatus(meta, options.bool('more'))
    process.stdout.write(`${toJson(document)}\n`)
    return 0
  } finally {
    await meta.engine.close()
  }
}

async function volumeStatus(meta: MetaClient, more: boolean): Promise<object> {
  const sessions: object[] = []
  for await (const { sid, expire, info } of meta.scan('sessions', {})) sessions.push(sessionOf(sid, expire, info))
  const usage = await meta.statfs(ROOT_INO)
  const stat = {
    UsedSpace: usage.total - usage.available,
    AvailableSpace: usage.available,
    UsedInodes: usage.usedInodes,
    AvailableInodes: usage.availableInodes,
    ...(more ? await pending(meta) : {}),
  }
  return { Setting: tidyFormat(secretsRemoved(meta.format)), Sessions: sessions, Stat: stat }
}

function sessionOf(sid: number, expire: number, info: Buffer | null): object {
  const known = readSessionInfo(info) ?? {}
  const end = new Date(Math.min(expire * 1000, LAST_DATE_MS))
  const shown: Record<string, unknown> = { Sid: sid, Expire: end.toISOString().replace(/\.\d+Z$/, 'Z') }
  for (const key of ['Version', 'HostName', 'IPAddrs', 'MountPoint', 'MountTime', 'ProcessID']) {
    if (known[key] !== undefined) shown[key] = known[key]
  }
  return shown
}

async function oneSession(meta: MetaClient, sid: number): Promise<object> {
  for await (const row of meta.scan('sessions', {})) {
    if (row.sid !== sid) continue
    const [sustained, flocks, plocks]: [string[], object[], object[]] = [[], [], []]
    for await (const { ino } of meta.scan('sustained', { sid })) sustained.push(inoDigits(ino))
    for await (const { ino, owner, type } of meta.scan('flocksOf', { sid })) {
      flocks.push({ Inode: inoDigits(ino), Owner: ownerDigits(owner), Ltype: type })
    }
    for await (const { ino, owner, records } of meta.scan('plocksOf', { sid })) {
      const ranges = decodePlocks(records).map(({ type, pid, start, end }) => ({
        Type: type === 'W' ? 1 : 0,
        Pid: pid,
        Start: start,
        End: end === TO_EOF ? digits('9223372036854775807') : end,
      }))
      plocks.push({ Inode: inoDigits(ino), Owner: ownerDigits(owner), Records: ranges })
    }
    return {
      ...sessionOf(sid, row.expire, row.info),
      ...(sustained.length > 0 ? { Sustained: sustained } : {}),
      ...(flocks.length > 0 ? { Flocks: flocks } : {}),
      ...(plocks.length > 0 ? { Plocks: plocks } : {}),
    }
  }
  throw new CommandError(`get session: session not found: ${sid}`)
}

/** What waits in the trash and for deletion; only what is not zero. */
async function pending(meta: MetaClient): Promise<Record<string, number>> {
  const sums: Record<string, number> = {}
  const add = (what: string, count: number, size: number): void => {
    sums[`${what}Count`] = (sums[`${what}Count`] ?? 0) + count
    sums[`${what}Size`] = (sums[`${what}Size`] ?? 0) + size
  }
  const open: Ino[] = [TRASH_INO]
  for (let dir = open.pop(); dir !== undefined; dir = open.pop()) {
    for await (const entry of meta.scan('entries', { parent: dir, attrs: true })) {
      if (entry.type === TYPE_DIRECTORY) open.push(entry.ino)
      if (dir !== TRASH_INO) add('TrashFile', 1, entry.attr?.type === TYPE_FILE ? align4K(entry.attr.length) : 4096)
    }
  }
  const always = Number.MAX_SAFE_INTEGER
  for await (const { length } of meta.scan('deadFiles', { before: always }))
    add('PendingDeletedFile', 1, align4K(length))
  for await (const { items } of meta.scan('trashedSlices', { before: always })) {
    for (let at = 0; at + ITEM_BYTES <= items.length; at += ITEM_BYTES) add('TrashSlice', 1, items.readUInt32BE(at + 8))
  }
  for await (const { size } of meta.scan('unusedSlices', {})) add('PendingDeletedSlice', 1, size)
  return Object.fromEntries(Object.entries(sums).filter(([, value]) => value !== 0))
}

/** 64-bit numbers go to JSON with all their digits. */
const digits = (text: string): string => `@digits:${text}`
const inoDigits = (ino: Ino): string => digits(inoToString(ino))
const ownerDigits = (hex: string): string => digits(BigInt(`0x${hex}`).toString())
const toJson = (document: object): string => JSON.stringify(document, null, 2).replace(/"@digits:(\d+)"/g, '$1')
