/** A commit's reply was lost with the connection. It must not be sent again before it is known that it was not executed, so the
 *  records tell: those that only this commit can have written, and those that it would have changed.
 *
 *      end the old connection ─► read ─┬─ some record is as only we would have left it ──► done
 *                                      ├─ some record that we would change is as it was ─► refused (the driver gathers again)
 *                                      └─ neither ───────────────────────────────────────► Fault (EIO), outcome unknown
 *
 *  Ending the old connection first matters: the server may have the commit in its buffer, and execute it after we looked. */

import { nameToBytes, readU64 } from '../../../base/bytes.ts'
import { timeIsLess } from '../../../base/clock.ts'
import { Fault } from '../../../base/fault.ts'
import type { Guard, Outcome } from '../../engine.ts'
import type { Change } from '../../facts.ts'
import { encodeAttr, encodeTime, MTIME_AT, NLINK_AT } from '../../model/attr-record.ts'
import type { LostReply } from './errors.ts'
import type { Arg, Reply } from './instruction.ts'
import { type Keys, sliceField, trashedField } from './keys.ts'
import type { Link } from './link.ts'
import { recordOf } from './raw-facts.ts'
import { seenNode } from './steps.ts'
import { buffersOf, bytesOf, encodeEntry, numberOf } from './values.ts'

export interface LostCommit {
  readonly link: Link
  readonly keys: Keys
  readonly guards: readonly Guard[]
  readonly changes: readonly Change[]
}

/** `gone`: what it would have removed is not there, which may be the work of others. Null: others have changed it since. */
type Verdict = 'done' | 'not done' | 'gone' | null
/** What to read, and what it tells. */
interface Witness {
  readonly command: readonly [name: string, ...args: readonly Arg[]]
  judge(reply: Reply): Verdict
  /** That it has nothing to say means nothing. */
  readonly isHint?: boolean
}

export async function decideLost(lost: LostReply, commit: LostCommit): Promise<Outcome> {
  const { link } = commit
  const doing = 'find out whether a change was made'
  const session = await link.ready(doing)
  const { clientId, info } = lost.session
  // On another server (a failover, a restart) that number is somebody else's.
  const isSameServer = info.runId !== null && info.runId === session.info.runId
  if (clientId !== null && clientId !== session.clientId && isSameServer) {
    // It is gone already, most of the time.
    await link.request('CLIENT', ['KILL', 'ID', String(clientId)], { doing, again: true }).catch(() => undefined)
  }
  const witnesses = commit.changes.flatMap(change => witnessesOf(change, commit))
  const ask = ([name, ...args]: Witness['command']): Promise<Reply> => link.request(name, args, { doing, again: true })
  const replies = await Promise.all(witnesses.map(({ command }) => ask(command)))
  const verdicts = witnesses.map(({ judge }, i) => judge(replies[i]!))
  if (verdicts.includes('done') || (!verdicts.includes('not done') && isAllGone(witnesses, verdicts))) {
    const results = await Promise.all(commit.changes.map(change => resultOf(change, commit.keys, ask)))
    return { done: true, results }
  }
  if (verdicts.includes('not done') || commit.changes.every(({ kind }) => REPEATABLE.has(kind))) return { done: false }
  throw new Fault('change metadata: the connection to Redis broke, and whether the change was made is unknown', {
    cause: lost,
  })
}

/** Changes that leave the same behind when they happen twice: a commit of nothing else may simply be tried again. */
const REPEATABLE: ReadonlySet<Change['kind']> = new Set([
  'putFlock',
  'putPlock',
  'putCounter',
  'putSession',
  'delSession',
  'putFormat',
  'delSliceRefs',
  'delDeadFile',
  'putDirUsage',
  'delDirUsage',
  'putQuota',
  'delQuota',
] satisfies Change['kind'][])

function isAllGone(witnesses: readonly Witness[], verdicts: readonly Verdict[]): boolean {
  const telling = verdicts.filter((_, i) => witnesses[i]!.isHint !== true)
  return telling.length > 0 && telling.every(verdict => verdict === 'gone')
}

function witnessesOf(change: Change, { keys, guards, changes }: LostCommit): Witness[] {
  switch (change.kind) {
    case 'putNode': {
      const seen = seenNode(guards, change.ino)
      const before = seen === null ? null : recordOf(seen)
      const after = encodeAttr(change.attr, before)
      return [
        {
          command: ['GET', keys.node(change.ino)],
          judge: reply => {
            const now = bytesOf(reply)
            // A new inode number is ours alone, whatever has become of the node since.
            if (before === null) return now === null ? 'not done' : 'done'
            if (now?.equals(after)) return before.equals(after) ? null : 'done'
            return now?.equals(before) ? 'not done' : null
          },
        },
      ]
    }
    case 'extendNode':
    case 'adjustDir': {
      const seen = seenNode(guards, change.ino)
      const times = timesOf(change)
      if (seen === null || times === null) return []
      const before = recordOf(seen)
      return [
        {
          command: ['GET', keys.node(change.ino)],
          isHint: change.kind === 'adjustDir',
          judge: reply => {
            const now = bytesOf(reply)
            if (now === null) return null
            // Times to the nanosecond that this commit alone carries; an untouched record proves the contrary.
            const hadThem = before.subarray(MTIME_AT, NLINK_AT).equals(times)
            if (change.kind === 'extendNode') {
              if (!hadThem && now.subarray(MTIME_AT, NLINK_AT).equals(times)) return 'done'
              const wouldShow = !hadThem || change.length > seen.length
              return wouldShow && now.equals(before) ? 'not done' : null
            }
            return timeIsLess(seen.ctime, change.at!) && now.equals(before) ? 'not done' : null
          },
        },
      ]
    }
    case 'delNode':
      return [{ command: ['EXISTS', keys.node(change.ino)], judge: reply => (reply === 0 ? 'gone' : 'not done') }]
    case 'setDentry': {
      const entry = encodeEntry(change.ino, change.type)
      const isNew = seenNode(guards, change.ino) === null
      const command = ['HGET', keys.entries(change.parent), nameToBytes(change.name)] as const
      // Only for a node that was made here; another may have got this name from somebody else.
      return isNew ? [{ command, isHint: true, judge: reply => (bytesOf(reply)?.equals(entry) ? 'done' : null) }] : []
    }
    case 'appendSlices': {
      const id = change.records.length === 0 ? 0 : readU64(change.records, 4)
      // Records that were copied from elsewhere may have been there before.
      if (!changes.some(other => other.kind === 'newSlice' && other.id === id)) return []
      const first = change.records.subarray(0, 24)
      const command = ['LRANGE', keys.chunk(change.ino, change.index), '0', '-1'] as const
      return [{ command, judge: reply => (buffersOf(reply).some(record => record.equals(first)) ? 'done' : null) }]
    }
    case 'replaceSlices': {
      const count = change.records.length / 24
      const command = [
        'LRANGE',
        keys.chunk(change.ino, change.index),
        '0',
        String(Math.max(count, change.prefix.length / 24) - 1),
      ] as const
      return [
        {
          command,
          judge: reply => {
            const now = Buffer.concat(buffersOf(reply))
            if (now.subarray(0, change.records.length).equals(change.records)) return 'done'
            return now.equals(change.prefix) ? 'not done' : null
          },
        },
      ]
    }
    case 'delChunk': {
      const read = guards.find(
        ({ read }) => read.kind === 'chunk' && read.ino === change.ino && read.index === change.index,
      )
      const before = read?.fact as Buffer | null | undefined
      const command = ['LRANGE', keys.chunk(change.ino, change.index), '0', '-1'] as const
      return [
        {
          command,
          judge: reply => {
            const now = Buffer.concat(buffersOf(reply))
            if (now.length === 0) return 'gone'
            return before?.equals(now) ? 'not done' : null
          },
        },
      ]
    }
    case 'putXattr':
    case 'delXattr':
      return [xattrWitness(change, keys, guards)]
    case 'delTrashedSlices': {
      const command = ['HEXISTS', keys.trashedSlices, trashedField(change.id, change.at)] as const
      return [{ command, judge: reply => (reply === 0 ? 'gone' : 'not done') }]
    }
    default:
      return []
  }
}

/** Made anew it might be told that it is there already, or not there any more: by its own first time. */
function xattrWitness(
  change: Change & { kind: 'putXattr' | 'delXattr' },
  keys: Keys,
  guards: readonly Guard[],
): Witness {
  const { ino, name } = change
  const same = (a: Buffer | null, b: Buffer | null): boolean => (a === null || b === null ? a === b : a.equals(b))
  const seen = guards.find(({ read }) => read.kind === 'xattr' && read.ino === ino && read.name === name)
  const before = (seen?.fact ?? null) as Buffer | null
  const after = change.kind === 'putXattr' ? change.value : null
  return {
    command: ['HGET', keys.xattrs(ino), nameToBytes(name)],
    judge: reply => {
      const now = bytesOf(reply)
      if (seen === undefined || same(before, after)) return same(now, after) ? 'done' : 'not done'
      if (same(now, after)) return after === null ? 'gone' : 'done'
      return same(now, before) ? 'not done' : null
    },
  }
}

function timesOf(change: Change & { readonly kind: 'extendNode' | 'adjustDir' }): Buffer | null {
  if (change.kind === 'extendNode') return Buffer.concat([encodeTime(change.mtime), encodeTime(change.ctime)])
  return change.at === null ? null : Buffer.concat([encodeTime(change.at), encodeTime(change.at)])
}

/** As it is now; others may have added to it since. */
async function resultOf(
  change: Change,
  keys: Keys,
  ask: (command: Witness['command']) => Promise<Reply>,
): Promise<number | undefined> {
  if (change.kind === 'appendSlices') return numberOf(await ask(['LLEN', keys.chunk(change.ino, change.index)]))
  if (change.kind !== 'refSlice') return undefined
  return numberOf(await ask(['HGET', keys.sliceRefs, sliceField(change.id, change.size)])) + 1
}
