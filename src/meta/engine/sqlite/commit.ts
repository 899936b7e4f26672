/** Changes into rows, one statement each. The engine has a savepoint around an operation's changes, so a change that is
 *  refused, or breaks a unique index, leaves nothing of its operation behind. */

import { nameToBytes } from '../../../base/bytes.ts'
import type { Ino } from '../../../base/ino.ts'
import type { Guard } from '../../engine.ts'
import { type Change, QUOTA_DIR, type Quota, type QuotaType } from '../../facts.ts'
import { SLICE_RECORD_BYTES } from '../../model/slice.ts'
import { flockCode, microsOf, nanosOf, signedOwner } from '../sql/columns.ts'
import { FIRST_COUNTERS } from '../sql/counters.ts'
import { hasNode, seenDentry } from '../sql/seen.ts'
import type { Summed, SumSink } from '../sql/usage-sums.ts'
import type { Reader } from './gather.ts'
import { bindIno, NODE_ASSIGNMENTS, NODE_NAMES, NODE_PLACES, nodeValues } from './rows.ts'
import { once, type Statements } from './statements.ts'

/** What the change builds on is not there: the whole operation is refused. */
export const REFUSED = Symbol('refused')

export class Writer implements SumSink {
  readonly #statements: Statements
  readonly #reader: Reader

  constructor(statements: Statements, reader: Reader) {
    this.#statements = statements
    this.#reader = reader
  }

  /** The result that facts.ts names for this kind of change, or REFUSED. Unique indexes throw. */
  apply(change: Exclude<Change, Summed>, guards: readonly Guard[]): number | undefined | typeof REFUSED {
    switch (change.kind) {
      case 'putNode': {
        const values = nodeValues(change.attr)
        if (!hasNode(guards, change.ino)) this.#newNode().run(bindIno(change.ino), ...values)
        else if (this.#putNode().run(...values, bindIno(change.ino)).changes === 0) return REFUSED
        return undefined
      }
      case 'adjustDir':
        return this.#adjustDir(change, guards)
      case 'extendNode': {
        const { mtime, ctime } = change
        const times = [microsOf(mtime), microsOf(ctime), nanosOf(mtime), nanosOf(ctime)]
        return changed(this.#extendNode().run(change.length, ...times, bindIno(change.ino)))
      }
      case 'delNode':
        this.#delNode().run(bindIno(change.ino))
        return undefined
      case 'setDentry': {
        const { parent, name, type } = change
        const [dir, key, ino] = [bindIno(parent), nameToBytes(name), bindIno(change.ino)]
        if (seenDentry(guards, parent, name) === undefined) this.#newDentry().run(dir, key, ino, type)
        else if (this.#setDentry().run(ino, type, dir, key).changes === 0) return REFUSED
        return undefined
      }
      case 'delDentry':
        this.#delDentry().run(bindIno(change.parent), nameToBytes(change.name))
        return undefined
      case 'linkParent':
      case 'delParents':
        return undefined // parents are derived from the edges
      case 'putSymlink':
        this.#putSymlink().run(bindIno(change.ino), nameToBytes(change.target))
        return undefined
      case 'delSymlink':
        this.#delSymlink().run(bindIno(change.ino))
        return undefined
      case 'appendSlices': {
        const row = this.#appendSlices().get(bindIno(change.ino), change.index, change.records)
        return (row![0] as number) / SLICE_RECORD_BYTES
      }
      case 'replaceSlices':
        return this.#replaceSlices(change)
      case 'delChunk':
        this.#delChunk().run(bindIno(change.ino), change.index)
        return undefined
      case 'newSlice':
        this.#newSlice().run(change.id, change.size, change.refs)
        return undefined
      case 'refSlice':
        return this.#refSlice().get(change.delta, change.id, change.size)?.[0] as number | undefined
      case 'delSliceRefs':
        this.#delSliceRefs().run(change.id, change.size)
        return undefined
      case 'putXattr':
        this.#putXattr().run(bindIno(change.ino), nameToBytes(change.name), change.value)
        return undefined
      case 'delXattr':
        this.#delXattr().run(bindIno(change.ino), nameToBytes(change.name))
        return undefined
      case 'delXattrs':
        this.#delXattrs().run(bindIno(change.ino))
        return undefined
      case 'sustain':
        this.#sustain().run(change.sid, bindIno(change.ino))
        return undefined
      case 'unsustain':
        this.#unsustain().run(change.sid, bindIno(change.ino))
        return undefined
      case 'deadFile':
        this.#deadFile().run(bindIno(change.ino), change.length, change.at)
        return undefined
      case 'delDeadFile':
        this.#delDeadFile().run(bindIno(change.ino))
        return undefined
      case 'trashSlices':
        this.#trashSlices().run(change.id, change.at, change.items)
        return undefined
      case 'delTrashedSlices':
        this.#delTrashedSlices().run(change.id, change.at)
        return undefined
      case 'putFlock': {
        const key = [bindIno(change.ino), change.sid, signedOwner(change.owner)]
        if (change.type === null) this.#delFlock().run(...key)
        else this.#putFlock().run(...key, flockCode(change.type))
        return undefined
      }
      case 'putPlock': {
        const key = [bindIno(change.ino), change.sid, signedOwner(change.owner)]
        if (change.records.length === 0) this.#delPlock().run(...key)
        else this.#putPlock().run(...key, change.records)
        return undefined
      }
      case 'newDirUsage':
        this.#putDirUsage().run(bindIno(change.ino), 0, 0, 0)
        return undefined
      case 'putDirUsage': {
        const { length, space, inodes } = change.usage
        this.#putDirUsage().run(bindIno(change.ino), length, space, inodes)
        return undefined
      }
      case 'delDirUsage':
        this.#delDirUsage().run(bindIno(change.ino))
        return undefined
      case 'putQuota':
        this.#putQuota(change.type, change.key, change.quota)
        return undefined
      case 'delQuota':
        if (change.type === QUOTA_DIR) this.#delDirQuota().run(bindIno(change.key as Ino))
        else this.#delOwnerQuota().run(change.type, change.key)
        return undefined
      case 'putCounter':
        this.#putCounter().run(change.name, change.value)
        return undefined
      case 'putSession':
        if (change.info === null) this.#putExpire().run(change.sid, change.expire)
        else this.#putSession().run(change.sid, change.expire, change.info)
        return undefined
      case 'delSession':
        for (const statement of this.#delSession) statement().run(change.sid)
        return undefined
      case 'putFormat':
        this.#putFormat().run(change.json)
        for (const [name, value] of FIRST_COUNTERS) this.#newCounter().run(name, value)
        return undefined
    }
  }

  addUsage(space: number, inodes: number): void {
    if (space !== 0) this.#addToCounter().run('usedSpace', space)
    if (inodes !== 0) this.#addToCounter().run('totalInodes', inodes)
  }

  addDirUsage(ino: Ino, length: number, space: number, inodes: number): void {
    this.#addDirUsage().run(length, space, inodes, bindIno(ino))
  }

  addQuotaUsage(type: QuotaType, key: number, space: number, inodes: number): void {
    if (type === QUOTA_DIR) this.#addDirQuota().run(space, inodes, bindIno(key as Ino))
    else this.#addOwnerQuota().run(type, key, space, inodes)
  }

  #adjustDir({ ino, nlink, at }: Change & { kind: 'adjustDir' }, guards: readonly Guard[]): undefined | typeof REFUSED {
    // What was read proves that it is there, and an UPDATE that changes nothing would still write its page.
    if (at === null && nlink === 0 && hasNode(guards, ino)) return undefined
    if (at === null) return changed(this.#adjustLinks().run(nlink, bindIno(ino)))
    const [micros, nanos] = [microsOf(at), nanosOf(at)]
    return changed(this.#adjustTimes().run(nlink, micros, micros, nanos, nanos, bindIno(ino)))
  }

  #replaceSlices({ ino, index, prefix, records }: Change & { kind: 'replaceSlices' }): undefined | typeof REFUSED {
    const stored = this.#reader.chunk(ino, index)
    if (stored === null || !stored.subarray(0, prefix.length).equals(prefix)) return REFUSED
    this.#putChunk().run(Buffer.concat([records, stored.subarray(prefix.length)]), bindIno(ino), index)
    return undefined
  }

  #putQuota(type: QuotaType, key: number, quota: Quota): void {
    const values = [quota.maxSpace, quota.maxInodes, quota.usedSpace, quota.usedInodes]
    if (type === QUOTA_DIR) this.#putDirQuota().run(bindIno(key as Ino), ...values)
    else this.#putOwnerQuota().run(type, key, ...values)
  }

  readonly #t = (name: string): string => this.#statements.table(name)
  readonly #run = (sql: () => string) => once(() => this.#statements.run(sql()))
  readonly #rows = (sql: () => string) => once(() => this.#statements.rows(sql()))

  readonly #newNode = this.#run(
    () => `INSERT INTO ${this.#t('node')} (inode, ${NODE_NAMES}) VALUES (?, ${NODE_PLACES})`,
  )
  readonly #putNode = this.#run(() => `UPDATE ${this.#t('node')} SET ${NODE_ASSIGNMENTS} WHERE inode = ?`)
  readonly #adjustLinks = this.#run(() => `UPDATE ${this.#t('node')} SET nlink = nlink + ? WHERE inode = ?`)
  readonly #adjustTimes = this.#run(
    () => `UPDATE ${this.#t('node')} SET nlink = nlink + ?, mtime = ?, ctime = ?, mtimensec = ?, ctimensec = ?
      WHERE inode = ?`,
  )
  readonly #extendNode = this.#run(
    () => `UPDATE ${this.#t('node')} SET length = max(length, ?), mtime = ?, ctime = ?, mtimensec = ?, ctimensec = ?
      WHERE inode = ?`,
  )
  readonly #delNode = this.#run(() => `DELETE FROM ${this.#t('node')} WHERE inode = ?`)
  readonly #newDentry = this.#run(
    () => `INSERT INTO ${this.#t('edge')} (parent, name, inode, type) VALUES (?, ?, ?, ?)`,
  )
  readonly #setDentry = this.#run(
    () => `UPDATE ${this.#t('edge')} SET inode = ?, type = ? WHERE parent = ? AND name = ?`,
  )
  readonly #delDentry = this.#run(() => `DELETE FROM ${this.#t('edge')} WHERE parent = ? AND name = ?`)
  readonly #putSymlink = this.#run(
    () => `INSERT INTO ${this.#t('symlink')} (inode, target) VALUES (?, ?)
      ON CONFLICT (inode) DO UPDATE SET target = excluded.target`,
  )
  readonly #delSymlink = this.#run(() => `DELETE FROM ${this.#t('symlink')} WHERE inode = ?`)
  // The casts: || would make a TEXT of two BLOBs, and the length of a TEXT ends at its first NUL.
  readonly #appendSlices = this.#rows(
    () => `INSERT INTO ${this.#t('chunk')} (inode, indx, slices) VALUES (?, ?, ?)
      ON CONFLICT (inode, indx) DO UPDATE SET slices = CAST(slices || excluded.slices AS BLOB)
      RETURNING length(CAST(slices AS BLOB))`,
  )
  readonly #putChunk = this.#run(() => `UPDATE ${this.#t('chunk')} SET slices = ? WHERE inode = ? AND indx = ?`)
  readonly #delChunk = this.#run(() => `DELETE FROM ${this.#t('chunk')} WHERE inode = ? AND indx = ?`)
  readonly #newSlice = this.#run(() => `INSERT INTO ${this.#t('chunk_ref')} (chunkid, size, refs) VALUES (?, ?, ?)`)
  readonly #refSlice = this.#rows(
    () => `UPDATE ${this.#t('chunk_ref')} SET refs = refs + ? WHERE chunkid = ? AND size = ? RETURNING refs`,
  )
  readonly #delSliceRefs = this.#run(() => `DELETE FROM ${this.#t('chunk_ref')} WHERE chunkid = ? AND size = ?`)
  readonly #putXattr = this.#run(
    () => `INSERT INTO ${this.#t('xattr')} (inode, name, value) VALUES (?, CAST(? AS TEXT), ?)
      ON CONFLICT (inode, name) DO UPDATE SET value = excluded.value`,
  )
  readonly #delXattr = this.#run(() => `DELETE FROM ${this.#t('xattr')} WHERE inode = ? AND name = CAST(? AS TEXT)`)
  readonly #delXattrs = this.#run(() => `DELETE FROM ${this.#t('xattr')} WHERE inode = ?`)
  readonly #sustain = this.#run(
    () => `INSERT INTO ${this.#t('sustained')} (sid, inode) VALUES (?, ?) ON CONFLICT (sid, inode) DO NOTHING`,
  )
  readonly #unsustain = this.#run(() => `DELETE FROM ${this.#t('sustained')} WHERE sid = ? AND inode = ?`)
  readonly #deadFile = this.#run(
    () => `INSERT INTO ${this.#t('delfile')} (inode, length, expire) VALUES (?, ?, ?)
      ON CONFLICT (inode) DO UPDATE SET length = excluded.length, expire = excluded.expire`,
  )
  readonly #delDeadFile = this.#run(() => `DELETE FROM ${this.#t('delfile')} WHERE inode = ?`)
  readonly #trashSlices = this.#run(
    () => `INSERT INTO ${this.#t('delslices')} (chunkid, deleted, slices) VALUES (?, ?, ?)
      ON CONFLICT (chunkid) DO UPDATE SET deleted = excluded.deleted, slices = excluded.slices`,
  )
  readonly #delTrashedSlices = this.#run(() => `DELETE FROM ${this.#t('delslices')} WHERE chunkid = ? AND deleted = ?`)
  readonly #putFlock = this.#run(
    () => `INSERT INTO ${this.#t('flock')} (inode, sid, owner, ltype) VALUES (?, ?, ?, ?)
      ON CONFLICT (inode, sid, owner) DO UPDATE SET ltype = excluded.ltype`,
  )
  readonly #delFlock = this.#run(() => `DELETE FROM ${this.#t('flock')} WHERE inode = ? AND sid = ? AND owner = ?`)
  readonly #putPlock = this.#run(
    () => `INSERT INTO ${this.#t('plock')} (inode, sid, owner, records) VALUES (?, ?, ?, ?)
      ON CONFLICT (inode, sid, owner) DO UPDATE SET records = excluded.records`,
  )
  readonly #delPlock = this.#run(() => `DELETE FROM ${this.#t('plock')} WHERE inode = ? AND sid = ? AND owner = ?`)
  readonly #putDirUsage = this.#run(
    () => `INSERT INTO ${this.#t('dir_stats')} (inode, data_length, used_space, used_inodes) VALUES (?, ?, ?, ?)
      ON CONFLICT (inode) DO UPDATE SET data_length = excluded.data_length, used_space = excluded.used_space,
      used_inodes = excluded.used_inodes`,
  )
  readonly #addDirUsage = this.#run(
    () => `UPDATE ${this.#t('dir_stats')} SET data_length = data_length + ?, used_space = used_space + ?,
      used_inodes = used_inodes + ? WHERE inode = ?`,
  )
  readonly #delDirUsage = this.#run(() => `DELETE FROM ${this.#t('dir_stats')} WHERE inode = ?`)
  readonly #putDirQuota = this.#run(
    () => `INSERT INTO ${this.#t('dir_quota')} (inode, max_space, max_inodes, used_space, used_inodes)
      VALUES (?, ?, ?, ?, ?) ON CONFLICT (inode) DO UPDATE SET max_space = excluded.max_space,
      max_inodes = excluded.max_inodes, used_space = excluded.used_space, used_inodes = excluded.used_inodes`,
  )
  readonly #addDirQuota = this.#run(
    () =>
      `UPDATE ${this.#t('dir_quota')} SET used_space = used_space + ?, used_inodes = used_inodes + ? WHERE inode = ?`,
  )
  readonly #delDirQuota = this.#run(() => `DELETE FROM ${this.#t('dir_quota')} WHERE inode = ?`)
  readonly #putOwnerQuota = this.#run(
    () => `INSERT INTO ${this.#t('user_group_quota')} (qtype, qkey, max_space, max_inodes, used_space, used_inodes)
      VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (qtype, qkey) DO UPDATE SET max_space = excluded.max_space,
      max_inodes = excluded.max_inodes, used_space = excluded.used_space, used_inodes = excluded.used_inodes`,
  )
  readonly #addOwnerQuota = this.#run(
    () => `INSERT INTO ${this.#t('user_group_quota')} (qtype, qkey, max_space, max_inodes, used_space, used_inodes)
      VALUES (?, ?, -1, -1, ?, ?) ON CONFLICT (qtype, qkey) DO UPDATE SET
      used_space = used_space + excluded.used_space, used_inodes = used_inodes + excluded.used_inodes`,
  )
  readonly #delOwnerQuota = this.#run(() => `DELETE FROM ${this.#t('user_group_quota')} WHERE qtype = ? AND qkey = ?`)
  readonly #putCounter = this.#run(
    () => `INSERT INTO ${this.#t('counter')} (name, value) VALUES (?, ?)
      ON CONFLICT (name) DO UPDATE SET value = excluded.value`,
  )
  readonly #addToCounter = this.#run(
    () => `INSERT INTO ${this.#t('counter')} (name, value) VALUES (?, ?)
      ON CONFLICT (name) DO UPDATE SET value = value + excluded.value`,
  )
  readonly #newCounter = this.#run(
    () => `INSERT INTO ${this.#t('counter')} (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING`,
  )
  readonly #putSession = this.#run(
    () => `INSERT INTO ${this.#t('session2')} (sid, expire, info) VALUES (?, ?, ?)
      ON CONFLICT (sid) DO UPDATE SET expire = excluded.expire, info = excluded.info`,
  )
  readonly #putExpire = this.#run(
    () => `INSERT INTO ${this.#t('session2')} (sid, expire) VALUES (?, ?)
      ON CONFLICT (sid) DO UPDATE SET expire = excluded.expire`,
  )
  readonly #delSession = ['flock', 'plock', 'session2'].map(table =>
    this.#run(() => `DELETE FROM ${this.#t(table)} WHERE sid = ?`),
  )
  readonly #putFormat = this.#run(
    () => `INSERT INTO ${this.#t('setting')} (name, value) VALUES ('format', ?)
      ON CONFLICT (name) DO UPDATE SET value = excluded.value`,
  )
}

const changed = (result: { readonly changes: number }): undefined | typeof REFUSED =>
  result.changes === 0 ? REFUSED : undefined
