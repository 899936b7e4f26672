/** Facts out of rows: one prepared point query a read, most of them 2 to 5 µs.
 *
 *  The joins cast their parameters. This SQLite plans with statistics (STAT4) and would otherwise compile a join anew each
 *  time a parameter changes, to look at its value: measured 38,000 lookups/s without the casts, 216,000 with them. */

import { type Name, nameFromBytes, nameToBytes } from '../../../base/bytes.ts'
import { Fault } from '../../../base/fault.ts'
import { type Ino, isTrash, NO_INO, ROOT_INO } from '../../../base/ino.ts'
import {
  type Dentry,
  type Fact,
  type FlockHolder,
  type ParentCount,
  type PlockHolder,
  QUOTA_DIR,
  type Quota,
  type QuotaType,
  type Read,
} from '../../facts.ts'
import type { AclRule } from '../../model/acl.ts'
import type { Attr } from '../../model/attr.ts'
import {
  aclEntries,
  aclValues,
  attrColumns,
  attrFromRow,
  bytesOf,
  flockTypeOf,
  foldedIno,
  quotaFromRow,
  type Row,
} from '../sql/columns.ts'
import { bindIno, ownerColumn } from './rows.ts'
import { once, type Statements } from './statements.ts'

/** a chain of parents longer than this is a loop */
const DEEPEST = 4096

export class Reader {
  readonly #statements: Statements

  constructor(statements: Statements) {
    this.#statements = statements
  }

  fact(read: Read): Fact {
    switch (read.kind) {
      case 'node':
        return this.node(read.ino)
      case 'dentry':
        return this.#dentry(read.parent, read.name, read.empty === true)
      case 'chunk':
        return this.chunk(read.ino, read.index)
      case 'chunkIndexes':
        return this.#chunkIndexesOf(read.ino, read.from, read.to)
      case 'symlink':
        return nameOrNull(this.#symlink().get(bindIno(read.ino)))
      case 'xattr':
        return bytesOrNull(this.#xattr().get(bindIno(read.ino), nameToBytes(read.name)))
      case 'xattrNames':
        return this.#xattrNames()
          .all(bindIno(read.ino))
          .map(([name]) => nameFromBytes(name as Buffer))
      case 'flocks':
        return this.#flocks().all(bindIno(read.ino)).map(flockHolder)
      case 'plocks':
        return this.#plocks().all(bindIno(read.ino)).map(plockHolder)
      case 'parents':
        return this.#parents().all(bindIno(read.ino)).map(parentCount)
      case 'ancestors':
        return this.#ancestors(read.ino)
      case 'aclRule':
        return this.#aclRuleOf(read.id)
      case 'aclId':
        return this.#aclIdOf(read.rule)
      case 'sliceRefs':
        return numberOrNull(this.#sliceRefs().get(read.id, read.size))
      case 'sustained':
        return this.#sustained().get(read.sid, bindIno(read.ino)) !== undefined
      case 'deadFile':
        return deadFile(this.#deadFile().get(bindIno(read.ino)))
      case 'trashedSlices':
        return bytesOrNull(this.#trashedSlices().get(read.id, read.at))
      case 'dirUsage':
        return dirUsageOf(this.#dirUsage().get(bindIno(read.ino)))
      case 'quota':
        return this.#quotaOf(read.type, read.key)
      case 'counter':
        return numberOrNull(this.#counter().get(read.name)) ?? 0
      case 'session':
        return session(this.#session().get(read.sid))
      case 'format':
        return (this.#format().get()?.[0] as string | undefined) ?? null
    }
  }

  node(ino: Ino): Attr | null {
    const row = this.#node().get(bindIno(ino))
    return row === undefined ? null : attrFromRow(ino, row, 0)
  }

  chunk(ino: Ino, index: number): Buffer | null {
    return bytesOrNull(this.#chunk().get(bindIno(ino), index))
  }

  #chunkIndexesOf(ino: Ino, from: number, to: number): readonly number[] {
    // One index, as every removal of an empty file asks: SQLite plans a range anew at each call, for the values of its bounds (STAT4).
    if (to - from === 1) return this.#chunkExists().get(bindIno(ino), from) === undefined ? [] : [from]
    return this.#chunkIndexes()
      .all(bindIno(ino), from, to)
      .map(([index]) => index as number)
  }

  #dentry(parent: Ino, name: Name, askEmpty: boolean): Dentry | null {
    const row = this.#edge().get(bindIno(parent), nameToBytes(name))
    if (row === undefined) return null
    const ino = row[0] as Ino
    const found = { ino, type: row[1] as number, attr: row[2] === null ? null : attrFromRow(ino, row, 3) }
    return askEmpty ? { ...found, empty: this.#child().get(bindIno(ino)) === undefined } : found
  }

  #ancestors(ino: Ino): readonly Ino[] {
    const chain: Ino[] = []
    for (let at = ino; at !== NO_INO && chain.length < DEEPEST; ) {
      const row = this.#parent().get(bindIno(at))
      if (row === undefined) break
      chain.push(at)
      if (at === ROOT_INO || isTrash(at)) break
      at = row[0] as Ino
    }
    return chain
  }

  #aclRuleOf(id: number): AclRule | null {
    const row = this.#aclRule().get(id)
    if (row === undefined) return null
    const [owner, group, mask, other] = row as readonly number[] as [number, number, number, number]
    return { owner, group, mask, other, namedUsers: aclEntries(row[4]), namedGroups: aclEntries(row[5]) }
  }

  /** An equal rule shares its id; rules are never deleted, so storing one is no change that could be taken back. */
  #aclIdOf(rule: AclRule): number {
    const values = aclValues(rule)
    const known = this.#aclId().get(...values)
    const id = known ?? this.#newAcl().get(...values)
    if (id === undefined) throw new Fault('store an ACL rule: no id came back')
    return id[0] as number
  }

  #quotaOf(type: QuotaType, key: number): Quota | null {
    const row = type === QUOTA_DIR ? this.#dirQuota().get(bindIno(key as Ino)) : this.#ownerQuota().get(type, key)
    return row === undefined ? null : quotaFromRow(row, 0)
  }

  readonly #t = (name: string): string => this.#statements.table(name)
  readonly #rows = (sql: () => string) => once(() => this.#statements.rows(sql()))

  readonly #node = this.#rows(
    () => `SELECT ${attrColumns('', this.#statements.nodeColumns)} FROM ${this.#t('node')} WHERE inode = ?`,
  )
  readonly #edge = this.#rows(
    () => `SELECT ${foldedIno('e.inode')}, e.type, n.inode, ${attrColumns('n.', this.#statements.nodeColumns)}
      FROM ${this.#t('edge')} e LEFT JOIN ${this.#t('node')} n ON n.inode = e.inode
      WHERE e.parent = CAST(? AS INTEGER) AND e.name = CAST(? AS BLOB)`,
  )
  readonly #child = this.#rows(() => `SELECT 1 FROM ${this.#t('edge')} WHERE parent = ? LIMIT 1`)
  // Lists that the reference client appended to are of type TEXT: SQLite's || makes them so, though the bytes are right.
  readonly #chunk = this.#rows(
    () => `SELECT CAST(slices AS BLOB) FROM ${this.#t('chunk')} WHERE inode = ? AND indx = ?`,
  )
  readonly #chunkExists = this.#rows(() => `SELECT 1 FROM ${this.#t('chunk')} WHERE inode = ? AND indx = ?`)
  readonly #chunkIndexes = this.#rows(
    () => `SELECT indx FROM ${this.#t('chunk')} WHERE inode = ? AND indx >= ? AND indx < ? ORDER BY indx`,
  )
  readonly #symlink = this.#rows(() => `SELECT CAST(target AS BLOB) FROM ${this.#t('symlink')} WHERE inode = ?`)
  // Names of xattrs are TEXT columns with any bytes: a cast keeps bytes that are not UTF-8, a JavaScript string would not.
  readonly #xattr = this.#rows(
    () => `SELECT CAST(value AS BLOB) FROM ${this.#t('xattr')} WHERE inode = ? AND name = CAST(? AS TEXT)`,
  )
  readonly #xattrNames = this.#rows(
    () => `SELECT CAST(name AS BLOB) FROM ${this.#t('xattr')} WHERE inode = ? ORDER BY name`,
  )
  readonly #flocks = this.#rows(
    () => `SELECT sid, ${ownerColumn}, ltype FROM ${this.#t('flock')} WHERE inode = ? ORDER BY sid, owner`,
  )
  readonly #plocks = this.#rows(
    () =>
      `SELECT sid, ${ownerColumn}, CAST(records AS BLOB) FROM ${this.#t('plock')} WHERE inode = ? ORDER BY sid, owner`,
  )
  readonly #parents = this.#rows(
    () =>
      `SELECT ${foldedIno('parent')}, count(*) FROM ${this.#t('edge')} WHERE inode = ? GROUP BY parent ORDER BY parent`,
  )
  readonly #parent = this.#rows(
    () => `SELECT ${foldedIno('ifnull(parent, 0)')} FROM ${this.#t('node')} WHERE inode = ?`,
  )
  readonly #aclRule = this.#rows(
    () => `SELECT ifnull(owner, 0), ifnull(\`group\`, 0), ifnull(mask, 0), ifnull(other, 0), named_users, named_groups
      FROM ${this.#t('acl')} WHERE id = ?`,
  )
  readonly #aclId = this.#rows(
    () => `SELECT id FROM ${this.#t('acl')} WHERE owner = ? AND \`group\` = ? AND mask = ? AND other = ?
      AND ifnull(named_users, x'') = ? AND ifnull(named_groups, x'') = ? ORDER BY id LIMIT 1`,
  )
  readonly #newAcl = this.#rows(
    () => `INSERT INTO ${this.#t('acl')} (owner, \`group\`, mask, other, named_users, named_groups)
      VALUES (?, ?, ?, ?, ?, ?) RETURNING id`,
  )
  readonly #sliceRefs = this.#rows(() => `SELECT refs FROM ${this.#t('chunk_ref')} WHERE chunkid = ? AND size = ?`)
  readonly #sustained = this.#rows(() => `SELECT 1 FROM ${this.#t('sustained')} WHERE sid = ? AND inode = ?`)
  readonly #deadFile = this.#rows(() => `SELECT length, expire FROM ${this.#t('delfile')} WHERE inode = ?`)
  readonly #trashedSlices = this.#rows(
    () => `SELECT CAST(slices AS BLOB) FROM ${this.#t('delslices')} WHERE chunkid = ? AND deleted = ?`,
  )
  readonly #dirUsage = this.#rows(
    () => `SELECT data_length, used_space, used_inodes FROM ${this.#t('dir_stats')} WHERE inode = ?`,
  )
  readonly #dirQuota = this.#rows(
    () => `SELECT max_space, max_inodes, used_space, used_inodes FROM ${this.#t('dir_quota')} WHERE inode = ?`,
  )
  readonly #ownerQuota = this.#rows(
    () => `SELECT max_space, max_inodes, used_space, used_inodes FROM ${this.#t('user_group_quota')}
      WHERE qtype = ? AND qkey = ?`,
  )
  readonly #counter = this.#rows(() => `SELECT value FROM ${this.#t('counter')} WHERE name = ?`)
  readonly #session = this.#rows(() => `SELECT expire, CAST(info AS BLOB) FROM ${this.#t('session2')} WHERE sid = ?`)
  readonly #format = this.#rows(() => `SELECT value FROM ${this.#t('setting')} WHERE name = 'format'`)
}

const nameOrNull = (row: Row | undefined): Name | null => (row === undefined ? null : nameFromBytes(row[0] as Buffer))
const bytesOrNull = (row: Row | undefined): Buffer | null => (row === undefined ? null : bytesOf(row[0]))
const numberOrNull = (row: Row | undefined): number | null => (row === undefined ? null : (row[0] as number))

const flockHolder = ([sid, owner, ltype]: Row): FlockHolder => ({
  sid: sid as number,
  owner: owner as string,
  type: flockTypeOf(ltype),
})
const plockHolder = ([sid, owner, records]: Row): PlockHolder => ({
  sid: sid as number,
  owner: owner as string,
  records: bytesOf(records),
})
const parentCount = ([parent, count]: Row): ParentCount => ({ parent: parent as Ino, count: count as number })

const deadFile = (row: Row | undefined): { length: number; at: number } | null =>
  row === undefined ? null : { length: row[0] as number, at: row[1] as number }

const session = (row: Row | undefined): { expire: number; info: Buffer | null } | null =>
  row === undefined ? null : { expire: row[0] as number, info: row[1] as Buffer | null }

const dirUsageOf = (row: Row | undefined): { length: number; space: number; inodes: number } | null =>
  row === undefined ? null : { length: row[0] as number, space: row[1] as number, inodes: row[2] as number }
