/** The second half of a commit: changes as statements, one each, prepared once. What they build on is locked and compared by
 *  then (hold.ts); what they insert unseen, a unique index refuses if it is there already, and the whole flight with it. */

import { nameToBytes } from '../../../base/bytes.ts'
import { type Ino, inoToString } from '../../../base/ino.ts'
import type { Guard } from '../../engine.ts'
import { type Change, QUOTA_DIR, type Read } from '../../facts.ts'
import { flockCode, microsOf, NODE_COLUMNS, nanosOf, signedOwner } from '../sql/columns.ts'
import { FIRST_COUNTERS } from '../sql/counters.ts'
import { nodeValues } from '../sql/node-values.ts'
import { type Plan, planOf, type Written } from '../sql/plan.ts'
import { hasNode, sawAbsent, seenDentry } from '../sql/seen.ts'
import type { Bound, Statement } from './flight.ts'
import { unless } from './hold.ts'
import type { Tables } from './tables.ts'

export class Applier {
  readonly #sql: Record<string, string>

  constructor(tables: Tables) {
    this.#sql = textsOf(tables)
  }

  plan(changes: readonly Change[], guards: readonly Guard[]): Plan<Statement> {
    return planOf(changes, change => this.#statementsOf(change, guards))
  }

  #statementsOf(change: Written, guards: readonly Guard[]): Statement[] {
    const run = (name: string, ...values: Bound[]): Statement[] => [{ name, text: this.#sql[name]!, values }]
    const one = (known: Read, name: string, ...values: Bound[]): Statement[] =>
      run(sawAbsent(guards, known) ? `${name} unseen` : name, ...values)
    switch (change.kind) {
      case 'putNode': {
        const ino = inoToString(change.ino)
        return run(
          hasNode(guards, change.ino) ? 'putNode' : 'newNode',
          ino,
          ...nodeValues(change.ino, change.attr, 'PostgreSQL').map(String),
        )
      }
      case 'adjustDir': {
        const { ino, nlink, at } = change
        if (at === null) return nlink === 0 ? [] : run('adjustLinks', inoToString(ino), String(nlink))
        return run('adjustTimes', inoToString(ino), String(nlink), String(microsOf(at)), String(nanosOf(at)))
      }
      case 'extendNode': {
        const { ino, length, mtime, ctime } = change
        const times = [microsOf(mtime), microsOf(ctime), nanosOf(mtime), nanosOf(ctime)].map(String)
        return run('extendNode', inoToString(ino), String(length), ...times)
      }
      case 'delNode':
        return run('delNode', inoToString(change.ino))
      case 'setDentry': {
        const { parent, name, ino, type } = change
        const entry = [inoToString(parent), nameToBytes(name), inoToString(ino), String(type)]
        const seen = seenDentry(guards, parent, name)
        if (seen === undefined) return run('newDentry', ...entry)
        return run('setDentry', ...entry, inoToString(seen.ino), String(seen.type))
      }
      case 'delDentry': {
        const place = [inoToString(change.parent), nameToBytes(change.name)]
        const seen = seenDentry(guards, change.parent, change.name)
        if (seen === undefined) return run('delDentry', ...place)
        return run('takeDentry', ...place, inoToString(seen.ino), String(seen.type))
      }
      case 'linkParent':
      case 'delParents':
        return [] // parents are derived from the edges
      case 'putSymlink':
        return run('putSymlink', inoToString(change.ino), nameToBytes(change.target))
      case 'delSymlink':
        return run('delSymlink', inoToString(change.ino))
      case 'appendSlices':
        return run('appendSlices', inoToString(change.ino), String(change.index), change.records)
      case 'replaceSlices': {
        const { ino, index, prefix, records } = change
        return run('replaceSlices', inoToString(ino), String(index), records, String(prefix.length))
      }
      case 'delChunk':
        return run('delChunk', inoToString(change.ino), String(change.index))
      case 'newSlice':
        return run('newSlice', String(change.id), String(change.size), String(change.refs))
      case 'refSlice':
        return run('refSlice', String(change.id), String(change.size), String(change.delta))
      case 'delSliceRefs':
        return run('delSliceRefs', String(change.id), String(change.size))
      case 'putXattr': {
        const { ino, name, value } = change
        return one({ kind: 'xattr', ino, name }, 'putXattr', inoToString(ino), nameToBytes(name), value)
      }
      case 'delXattr':
        return run('delXattr', inoToString(change.ino), nameToBytes(change.name))
      case 'delXattrs':
        return run('delXattrs', inoToString(change.ino))
      case 'sustain':
        return run('sustain', String(change.sid), inoToString(change.ino))
      case 'unsustain':
        return run('unsustain', String(change.sid), inoToString(change.ino))
      case 'deadFile':
        return run('deadFile', inoToString(change.ino), String(change.length), String(change.at))
      case 'delDeadFile':
        return run('delDeadFile', inoToString(change.ino))
      case 'trashSlices':
        return run('trashSlices', String(change.id), String(change.at), change.items)
      case 'delTrashedSlices':
        return run('delTrashedSlices', String(change.id), String(change.at))
      case 'putFlock': {
        const key = lockKey(change)
        return change.type === null ? run('delFlock', ...key) : run('putFlock', ...key, String(flockCode(change.type)))
      }
      case 'putPlock': {
        const key = lockKey(change)
        return change.records.length === 0 ? run('delPlock', ...key) : run('putPlock', ...key, change.records)
      }
      case 'newDirUsage':
        return run('putDirUsage', inoToString(change.ino), '0', '0', '0')
      case 'putDirUsage': {
        const { length, space, inodes } = change.usage
        return run('putDirUsage', inoToString(change.ino), String(length), String(space), String(inodes))
      }
      case 'delDirUsage':
        return run('delDirUsage', inoToString(change.ino))
      case 'putQuota': {
        const { type, key, quota } = change
        const { maxSpace, maxInodes, usedSpace, usedInodes } = quota
        const values = [maxSpace, maxInodes, usedSpace, usedInodes].map(String)
        const read: Read = { kind: 'quota', type, key }
        if (type === QUOTA_DIR) return one(read, 'putDirQuota', inoToString(key as Ino), ...values)
        return one(read, 'putOwnerQuota', String(type), String(key), ...values)
      }
      case 'delQuota':
        if (change.type === QUOTA_DIR) return run('delDirQuota', inoToString(change.key as Ino))
        return run('delOwnerQuota', String(change.type), String(change.key))
      case 'putCounter':
        return run('putCounter', change.name, String(change.value))
      case 'putSession': {
        const { sid, expire, info } = change
        const read: Read = { kind: 'session', sid }
        if (info === null) return one(read, 'putExpire', String(sid), String(expire))
        return one(read, 'putSession', String(sid), String(expire), info)
      }
      case 'delSession':
        return ['delFlocksOf', 'delPlocksOf', 'delSession'].flatMap(name => run(name, String(change.sid)))
      case 'putFormat':
        return [
          ...one({ kind: 'format' }, 'putFormat', change.json),
          ...FIRST_COUNTERS.flatMap(([name, value]) => run('newCounter', name, String(value))),
        ]
    }
  }
}

const lockKey = ({ ino, sid, owner }: { ino: Ino; sid: number; owner: string }): [string, string, string] => [
  inoToString(ino),
  String(sid),
  String(signedOwner(owner)),
]

const NODE_TYPES: Readonly<Record<string, string>> = {
  atime: 'bigint',
  mtime: 'bigint',
  ctime: 'bigint',
  length: 'bigint',
  parent: 'bigint',
}
const nodePlace = (name: string, i: number): string => `$${i + 2}::${NODE_TYPES[name] ?? 'int'}`

/** Every statement under its name, which is also that of the prepared one. `… unseen`: without "or replace". */
function textsOf(tables: Tables): Record<string, string> {
  const t = tables.name
  const upsert = (name: string, insert: string, key: string, columns: readonly string[]): Record<string, string> => {
    const set = columns.map(column => `${column} = excluded.${column}`).join(', ')
    return { [name]: `${insert} ON CONFLICT (${key}) DO UPDATE SET ${set}`, [`${name} unseen`]: insert }
  }
  const hit = (statement: string): string =>
    `WITH hit AS (${statement} RETURNING 1)
      SELECT ${unless('(SELECT count(*) FROM hit) = 1', `'directory '`, '$1::bigint')}`
  return {
    newNode: `INSERT INTO ${t('node')} (inode, ${NODE_COLUMNS.join(', ')})
      VALUES ($1::bigint, ${NODE_COLUMNS.map(nodePlace).join(', ')})`,
    putNode: `UPDATE ${t('node')} SET ${NODE_COLUMNS.map((name, i) => `${name} = ${nodePlace(name, i)}`).join(', ')}
      WHERE inode = $1::bigint`,
    adjustLinks: `UPDATE ${t('node')} SET nlink = nlink + $2::int WHERE inode = $1::bigint`,
    adjustTimes: `UPDATE ${t('node')} SET nlink = nlink + $2::int, mtime = $3::bigint, ctime = $3::bigint,
      mtimensec = $4::int, ctimensec = $4::int WHERE inode = $1::bigint`,
    extendNode: `UPDATE ${t('node')} SET length = greatest(length, $2::bigint), mtime = $3::bigint, ctime = $4::bigint,
      mtimensec = $5::int, ctimensec = $6::int WHERE inode = $1::bigint`,
    delNode: `DELETE FROM ${t('node')} WHERE inode = $1::bigint`,
    newDentry: `INSERT INTO ${t('edge')} (parent, name, inode, type) VALUES ($1::bigint, $2::bytea, $3::bigint, $4::int)`,
    setDentry: hit(`UPDATE ${t('edge')} SET inode = $3::bigint, type = $4::int
      WHERE parent = $1::bigint AND name = $2::bytea AND inode = $5::bigint AND type = $6::int`),
    delDentry: `DELETE FROM ${t('edge')} WHERE parent = $1::bigint AND name = $2::bytea`,
    takeDentry: hit(`DELETE FROM ${t('edge')}
      WHERE parent = $1::bigint AND name = $2::bytea AND inode = $3::bigint AND type = $4::int`),
    ...upsert('putSymlink', `INSERT INTO ${t('symlink')} (inode, target) VALUES ($1::bigint, $2::bytea)`, 'inode', [
      'target',
    ]),
    delSymlink: `DELETE FROM ${t('symlink')} WHERE inode = $1::bigint`,
    appendSlices: `INSERT INTO ${t('chunk')} AS c (inode, indx, slices) VALUES ($1::bigint, $2::int, $3::bytea)
      ON CONFLICT (inode, indx) DO UPDATE SET slices = c.slices || excluded.slices RETURNING length(slices)`,
    replaceSlices: `UPDATE ${t('chunk')} SET slices = $3::bytea || substr(slices, $4::int + 1)
      WHERE inode = $1::bigint AND indx = $2::int`,
    delChunk: `DELETE FROM ${t('chunk')} WHERE inode = $1::bigint AND indx = $2::int`,
    newSlice: `INSERT INTO ${t('chunk_ref')} (chunkid, size, refs) VALUES ($1::bigint, $2::int, $3::int)`,
    refSlice: `UPDATE ${t('chunk_ref')} SET refs = refs + $3::int WHERE chunkid = $1::bigint AND size = $2::int
      RETURNING refs`,
    delSliceRefs: `DELETE FROM ${t('chunk_ref')} WHERE chunkid = $1::bigint AND size = $2::int`,
    ...upsert(
      'putXattr',
      `INSERT INTO ${t('xattr')} (inode, name, value) VALUES ($1::bigint, $2::text, $3::bytea)`,
      'inode, name',
      ['value'],
    ),
    delXattr: `DELETE FROM ${t('xattr')} WHERE inode = $1::bigint AND name = $2::text`,
    delXattrs: `DELETE FROM ${t('xattr')} WHERE inode = $1::bigint`,
    sustain: `INSERT INTO ${t('sustained')} (sid, inode) VALUES ($1::bigint, $2::bigint) ON CONFLICT (sid, inode) DO NOTHING`,
    unsustain: `DELETE FROM ${t('sustained')} WHERE sid = $1::bigint AND inode = $2::bigint`,
    ...upsert(
      'deadFile',
      `INSERT INTO ${t('delfile')} (inode, length, expire) VALUES ($1::bigint, $2::bigint, $3::bigint)`,
      'inode',
      ['length', 'expire'],
    ),
    delDeadFile: `DELETE FROM ${t('delfile')} WHERE inode = $1::bigint`,
    ...upsert(
      'trashSlices',
      `INSERT INTO ${t('delslices')} (chunkid, deleted, slices) VALUES ($1::bigint, $2::bigint, $3::bytea)`,
      'chunkid',
      ['deleted', 'slices'],
    ),
    delTrashedSlices: `DELETE FROM ${t('delslices')} WHERE chunkid = $1::bigint AND deleted = $2::bigint`,
    ...upsert(
      'putFlock',
      `INSERT INTO ${t('flock')} (inode, sid, owner, ltype) VALUES ($1::bigint, $2::bigint, $3::bigint, $4::int)`,
      'inode, sid, owner',
      ['ltype'],
    ),
    delFlock: `DELETE FROM ${t('flock')} WHERE inode = $1::bigint AND sid = $2::bigint AND owner = $3::bigint`,
    ...upsert(
      'putPlock',
      `INSERT INTO ${t('plock')} (inode, sid, owner, records) VALUES ($1::bigint, $2::bigint, $3::bigint, $4::bytea)`,
      'inode, sid, owner',
      ['records'],
    ),
    delPlock: `DELETE FROM ${t('plock')} WHERE inode = $1::bigint AND sid = $2::bigint AND owner = $3::bigint`,
    ...upsert(
      'putDirUsage',
      `INSERT INTO ${t('dir_stats')} (inode, data_length, used_space, used_inodes)
        VALUES ($1::bigint, $2::bigint, $3::bigint, $4::bigint)`,
      'inode',
      ['data_length', 'used_space', 'used_inodes'],
    ),
    delDirUsage: `DELETE FROM ${t('dir_stats')} WHERE inode = $1::bigint`,
    ...upsert(
      'putDirQuota',
      `INSERT INTO ${t('dir_quota')} (inode, max_space, max_inodes, used_space, used_inodes)
        VALUES ($1::bigint, $2::bigint, $3::bigint, $4::bigint, $5::bigint)`,
      'inode',
      ['max_space', 'max_inodes', 'used_space', 'used_inodes'],
    ),
    delDirQuota: `DELETE FROM ${t('dir_quota')} WHERE inode = $1::bigint`,
    ...upsert(
      'putOwnerQuota',
      `INSERT INTO ${t('user_group_quota')} (qtype, qkey, max_space, max_inodes, used_space, used_inodes)
        VALUES ($1::int, $2::bigint, $3::bigint, $4::bigint, $5::bigint, $6::bigint)`,
      'qtype, qkey',
      ['max_space', 'max_inodes', 'used_space', 'used_inodes'],
    ),
    delOwnerQuota: `DELETE FROM ${t('user_group_quota')} WHERE qtype = $1::int AND qkey = $2::bigint`,
    ...upsert('putCounter', `INSERT INTO ${t('counter')} (name, value) VALUES ($1::text, $2::bigint)`, 'name', [
      'value',
    ]),
    newCounter: `INSERT INTO ${t('counter')} (name, value) VALUES ($1::text, $2::bigint) ON CONFLICT (name) DO NOTHING`,
    ...upsert(
      'putSession',
      `INSERT INTO ${t('session2')} (sid, expire, info) VALUES ($1::bigint, $2::bigint, $3::bytea)`,
      'sid',
      ['expire', 'info'],
    ),
    ...upsert('putExpire', `INSERT INTO ${t('session2')} (sid, expire) VALUES ($1::bigint, $2::bigint)`, 'sid', [
      'expire',
    ]),
    delFlocksOf: `DELETE FROM ${t('flock')} WHERE sid = $1::bigint`,
    delPlocksOf: `DELETE FROM ${t('plock')} WHERE sid = $1::bigint`,
    delSession: `DELETE FROM ${t('session2')} WHERE sid = $1::bigint`,
    ...upsert('putFormat', `INSERT INTO ${t('setting')} (name, value) VALUES ('format', $1::text)`, 'name', ['value']),
  }
}
