/** The second half of a commit: changes as statements. What they build on is locked and compared by then (hold.ts); what they
 *  insert unseen, a unique index refuses if it is there already, and the whole transaction with it. */

import { nameToBytes } from '../../../base/bytes.ts'
import { type Ino, inoToString } from '../../../base/ino.ts'
import type { Guard } from '../../engine.ts'
import { type Change, QUOTA_DIR, type Read } from '../../facts.ts'
import { flockCode, microsOf, nanosOf, signedOwner } from '../sql/columns.ts'
import { FIRST_COUNTERS } from '../sql/counters.ts'
import { nodeValues } from '../sql/node-values.ts'
import { type Plan, planOf, type Written } from '../sql/plan.ts'
import { hasNode, sawAbsent, seenDentry } from '../sql/seen.ts'
import { changeTexts } from './change-texts.ts'
import { type Bound, characters, type Statement, unless } from './statement.ts'
import type { Tables } from './tables.ts'

/** The statement before it found its row. (Rows found, not rows changed: the driver asks for that.) */
const HIT: Statement = { text: unless('row_count() = 1'), values: [] }

export class Applier {
  readonly #sql: Readonly<Record<string, string>>

  constructor(tables: Tables) {
    this.#sql = changeTexts(tables)
  }

  plan(changes: readonly Change[], guards: readonly Guard[]): Plan<Statement> {
    return planOf(changes, change => this.#statementsOf(change, guards))
  }

  #statementsOf(change: Written, guards: readonly Guard[]): Statement[] {
    const run = (name: string, ...values: Bound[]): Statement[] => [{ text: this.#sql[name]!, values }]
    const one = (known: Read, name: string, ...values: Bound[]): Statement[] =>
      run(sawAbsent(guards, known) ? `${name} unseen` : name, ...values)
    switch (change.kind) {
      case 'putNode': {
        const ino = inoToString(change.ino)
        return run(
          hasNode(guards, change.ino) ? 'putNode' : 'newNode',
          ino,
          ...nodeValues(change.ino, change.attr, 'MySQL'),
        )
      }
      case 'adjustDir': {
        const { ino, nlink, at } = change
        if (at === null) return nlink === 0 ? [] : run('adjustLinks', inoToString(ino), nlink)
        return run('adjustTimes', inoToString(ino), nlink, microsOf(at), nanosOf(at))
      }
      case 'extendNode': {
        const { ino, length, mtime, ctime } = change
        const times = [microsOf(mtime), microsOf(ctime), nanosOf(mtime), nanosOf(ctime)]
        return run('extendNode', inoToString(ino), length, ...times)
      }
      case 'delNode':
        return run('delNode', inoToString(change.ino))
      case 'setDentry': {
        const { parent, name, ino, type } = change
        const entry = [inoToString(parent), nameToBytes(name), inoToString(ino), type]
        const seen = seenDentry(guards, parent, name)
        if (seen === undefined) return run('newDentry', ...entry)
        return [...run('setDentry', ...entry, inoToString(seen.ino), seen.type), HIT]
      }
      case 'delDentry': {
        const place = [inoToString(change.parent), nameToBytes(change.name)]
        const seen = seenDentry(guards, change.parent, change.name)
        if (seen === undefined) return run('delDentry', ...place)
        return [...run('takeDentry', ...place, inoToString(seen.ino), seen.type), HIT]
      }
      case 'linkParent':
      case 'delParents':
        return [] // parents are derived from the edges
      case 'putSymlink':
        return run('putSymlink', inoToString(change.ino), nameToBytes(change.target))
      case 'delSymlink':
        return run('delSymlink', inoToString(change.ino))
      case 'appendSlices':
        return [
          ...run('appendSlices', inoToString(change.ino), change.index, change.records),
          ...run('slicesLength', inoToString(change.ino), change.index),
        ]
      case 'replaceSlices': {
        const { ino, index, prefix, records } = change
        return run('replaceSlices', inoToString(ino), index, records, prefix.length)
      }
      case 'delChunk':
        return run('delChunk', inoToString(change.ino), change.index)
      case 'newSlice':
        return run('newSlice', change.id, change.size, change.refs)
      case 'refSlice':
        return [...run('refSlice', change.id, change.size, change.delta), ...run('refsLeft', change.id, change.size)]
      case 'delSliceRefs':
        return run('delSliceRefs', change.id, change.size)
      case 'putXattr': {
        const { ino, name, value } = change
        return one({ kind: 'xattr', ino, name }, 'putXattr', inoToString(ino), { utf8: nameToBytes(name) }, value)
      }
      case 'delXattr':
        return run('delXattr', inoToString(change.ino), nameToBytes(change.name))
      case 'delXattrs':
        return run('delXattrs', inoToString(change.ino))
      case 'sustain':
        return run('sustain', change.sid, inoToString(change.ino))
      case 'unsustain':
        return run('unsustain', change.sid, inoToString(change.ino))
      case 'deadFile':
        return run('deadFile', inoToString(change.ino), change.length, change.at)
      case 'delDeadFile':
        return run('delDeadFile', inoToString(change.ino))
      case 'trashSlices':
        return run('trashSlices', change.id, change.at, change.items)
      case 'delTrashedSlices':
        return run('delTrashedSlices', change.id, change.at)
      case 'putFlock': {
        const key = lockKey(change)
        return change.type === null ? run('delFlock', ...key) : run('putFlock', ...key, flockCode(change.type))
      }
      case 'putPlock': {
        const key = lockKey(change)
        return change.records.length === 0 ? run('delPlock', ...key) : run('putPlock', ...key, change.records)
      }
      case 'newDirUsage':
        return run('putDirUsage', inoToString(change.ino), 0, 0, 0)
      case 'putDirUsage': {
        const { length, space, inodes } = change.usage
        return run('putDirUsage', inoToString(change.ino), length, space, inodes)
      }
      case 'delDirUsage':
        return run('delDirUsage', inoToString(change.ino))
      case 'putQuota': {
        const { type, key, quota } = change
        const { maxSpace, maxInodes, usedSpace, usedInodes } = quota
        const values = [maxSpace, maxInodes, usedSpace, usedInodes]
        const read: Read = { kind: 'quota', type, key }
        if (type === QUOTA_DIR) return one(read, 'putDirQuota', inoToString(key as Ino), ...values)
        return one(read, 'putOwnerQuota', type, key, ...values)
      }
      case 'delQuota':
        if (change.type === QUOTA_DIR) return run('delDirQuota', inoToString(change.key as Ino))
        return run('delOwnerQuota', change.type, change.key)
      case 'putCounter':
        return run('putCounter', characters(change.name), change.value)
      case 'putSession': {
        const { sid, expire, info } = change
        const read: Read = { kind: 'session', sid }
        if (info === null) return one(read, 'putExpire', sid, expire)
        return one(read, 'putSession', sid, expire, info)
      }
      case 'delSession':
        return ['delFlocksOf', 'delPlocksOf', 'delSession'].flatMap(name => run(name, change.sid))
      case 'putFormat':
        return [
          ...one({ kind: 'format' }, 'putFormat', characters(change.json)),
          ...FIRST_COUNTERS.flatMap(([name, value]) => run('newCounter', characters(name), value)),
        ]
    }
  }
}

const lockKey = ({ ino, sid, owner }: { ino: Ino; sid: number; owner: string }): [string, number, bigint] => [
  inoToString(ino),
  sid,
  signedOwner(owner),
]
