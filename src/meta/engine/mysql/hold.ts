/** The first half of a commit: every record that it builds on is locked, and compared with what was read.
 *
 *  Lock first, check second. Under READ COMMITTED each statement looks at the newest committed rows, so what comes after a lock
 *  that had to be waited for sees what happened meanwhile: the child that was made in the directory that is about to be
 *  removed. (Under REPEATABLE READ, MySQL's default, it would see the time before the wait.) A node is locked and compared by
 *  one statement, since a locking read looks at the newest row itself. Locks are taken by ascending inode, then kind by kind,
 *  by everybody: no deadlocks among ourselves.
 *
 *  What does not hold raises an error, and the packet ends there. */

import { nameToBytes } from '../../../base/bytes.ts'
import { type Ino, inoToString } from '../../../base/ino.ts'
import type { Guard, Strength } from '../../engine.ts'
import { type Change, type Dentry, type Fact, QUOTA_DIR, type Read } from '../../facts.ts'
import type { Attr } from '../../model/attr.ts'
import { rowsOf, shapeOf } from '../sql/fact-rows.ts'
import { type Lock, nodeHoldsOf, UPDATE } from '../sql/node-holds.ts'
import { nodeValue } from '../sql/node-values.ts'
import { type Question, questionOf, utf8, valuesOf } from './questions.ts'
import { literal, places, type Statement, unless } from './statement.ts'
import type { Tables } from './tables.ts'

/** Compared by every strength, in the order of their values. */
const IDENTITY = ['type', 'flags', 'mode', 'uid', 'gid', 'rdev', 'parent', 'access_acl_id', 'default_acl_id', 'tier_id']
const LENGTH = ['nlink', 'length']
const TIMES = ['atime', 'mtime', 'ctime', 'atimensec', 'mtimensec', 'ctimensec']
const COMPARED: Readonly<Record<Strength, readonly string[]>> = {
  identity: IDENTITY,
  length: [...IDENTITY, ...LENGTH],
  exact: [...IDENTITY, ...LENGTH, ...TIMES],
}

/** Facts that stand in rows of their own, beside nodes and entries. */
type RowRead = Exclude<Question, { kind: 'node' | 'dentry' }>

export class Holder {
  readonly #tables: Tables
  readonly #texts = new Map<string, string>()

  constructor(tables: Tables) {
    this.#tables = tables
  }

  statements(guards: readonly Guard[], changes: readonly Change[]): Statement[] {
    const statements: Statement[] = []
    const later: Statement[] = []
    for (const [ino, hold] of nodeHoldsOf(guards, changes)) {
      if (hold.attr !== undefined) statements.push(this.#compareNode(ino, hold.attr, hold.strength, hold.lock))
      else if (hold.mustExist) statements.push(this.#requireNode(ino, hold.lock))
      else if (!hold.mustBeAbsent) statements.push(this.#lockNode(ino, hold.lock))
      else later.push(this.#absentNode(ino))
    }
    for (const change of changes) {
      if (change.kind === 'replaceSlices') statements.push(this.#comparePrefix(change))
    }
    for (const { read, fact } of guards) {
      if (read.kind === 'node' || read.kind === 'aclId') continue
      if (read.kind === 'dentry') later.push(...this.#dentry(read, fact as Dentry | null, changes))
      else {
        statements.push(...this.#lockRows(read))
        later.push(this.#compareRows(read, fact))
      }
    }
    return [...statements, ...later]
  }

  #compareNode(ino: Ino, attr: Attr, strength: Strength, lock: Lock): Statement {
    const columns = COMPARED[strength]
    const text = this.#text(`hold ${strength} ${lock}`, () => {
      const $ = places(2)
      const equal = columns.map(name => `coalesce(${name}, 0) = ${$()}`)
      return this.#held(lock, `inode = $1 AND ${equal.join(' AND ')}`)
    })
    return { text, values: [inoToString(ino), ...columns.map(name => nodeValue(ino, attr, name, 'MySQL'))] }
  }

  #requireNode(ino: Ino, lock: Lock): Statement {
    return { text: this.#text(`require ${lock}`, () => this.#held(lock, 'inode = $1')), values: [inoToString(ino)] }
  }

  #held(lock: Lock, where: string): string {
    return `${unless('count(*) = 1')} FROM ${this.#tables.name('node')} WHERE ${where} ${wordsOf(lock)}`
  }

  /** Whether it is there or not. */
  #lockNode(ino: Ino, lock: Lock): Statement {
    const node = this.#tables.name('node')
    return { text: `SELECT 1 FROM ${node} WHERE inode = $1 ${wordsOf(lock)}`, values: [inoToString(ino)] }
  }

  #absentNode(ino: Ino): Statement {
    const node = this.#tables.name('node')
    return { text: `${unless('count(*) = 0')} FROM ${node} WHERE inode = $1`, values: [inoToString(ino)] }
  }

  #comparePrefix({ ino, index, prefix }: Change & { kind: 'replaceSlices' }): Statement {
    const chunk = this.#tables.name('chunk')
    const text = `${unless('count(*) = 1')} FROM ${chunk}
      WHERE inode = $1 AND indx = $2 AND left(slices, $3) = $4 FOR UPDATE`
    return { text, values: [inoToString(ino), index, prefix.length, prefix] }
  }

  /** The entry, and whether its directory is still empty. Where this commit inserts or replaces the entry itself, that
   *  statement checks it (apply.ts). */
  #dentry(read: Read & { kind: 'dentry' }, fact: Dentry | null, changes: readonly Change[]): Statement[] {
    const { parent, name } = read
    const edge = this.#tables.name('edge')
    const statements: Statement[] = []
    const isWritten = changes.some(
      change =>
        (change.kind === 'setDentry' || change.kind === 'delDentry') &&
        change.parent === parent &&
        change.name === name,
    )
    if (!isWritten) {
      const place = [inoToString(parent), nameToBytes(name)]
      const where = `FROM ${edge} WHERE parent = $1 AND name = $2`
      statements.push(
        fact === null
          ? { text: `${unless('count(*) = 0')} ${where}`, values: place }
          : {
              text: `${unless('count(*) = 1')} ${where} AND inode = $3 AND type = $4 FOR UPDATE`,
              values: [...place, inoToString(fact.ino), fact.type],
            },
      )
    }
    if (fact?.empty !== undefined) {
      const text = unless(`EXISTS (SELECT 1 FROM ${edge} WHERE parent = $1) <> $2`)
      statements.push({ text, values: [inoToString(fact.ino), fact.empty ? 1 : 0] })
    }
    return statements
  }

  /** The rows that a fact of one row stands in; lists are held by their node. A counter that is not there is made: 0. */
  #lockRows(read: RowRead): Statement[] {
    const t = this.#tables.name
    const values = valuesOf(read)
    const lock = (table: string, where: string): Statement[] => [
      { text: `SELECT 1 FROM ${t(table)} WHERE ${where} FOR UPDATE`, values },
    ]
    switch (read.kind) {
      case 'chunk':
        return lock('chunk', 'inode = $1 AND indx = $2')
      case 'xattr':
        return lock('xattr', `inode = $1 AND ${utf8('name')} = $2`)
      case 'sliceRefs':
        return lock('chunk_ref', 'chunkid = $1 AND size = $2')
      case 'sustained':
        return lock('sustained', 'sid = $1 AND inode = $2')
      case 'deadFile':
        return lock('delfile', 'inode = $1')
      case 'trashedSlices':
        return lock('delslices', 'chunkid = $1 AND deleted = $2')
      case 'dirUsage':
        return lock('dir_stats', 'inode = $1')
      case 'quota':
        return read.type === QUOTA_DIR
          ? lock('dir_quota', 'inode = $1')
          : lock('user_group_quota', 'qtype = $1 AND qkey = $2')
      case 'session':
        return lock('session2', 'sid = $1')
      case 'format':
        return lock('setting', `name = 'format'`)
      case 'counter': {
        const make = `INSERT INTO ${t('counter')} (name, value) VALUES ($1, 0) ON DUPLICATE KEY UPDATE value = value`
        return [{ text: make, values }, ...lock('counter', 'name = $1')]
      }
      default:
        return []
    }
  }

  /** Asked again, and compared as a set: no fact has the same row twice. */
  #compareRows(read: RowRead, fact: Fact): Statement {
    const question = this.#text(`rows ${shapeOf(read)}`, () => questionOf(read, 0, this.#tables, places()))
    const expected = rowsOf(read, fact).map(({ n, b }, i) => {
      const row = read.kind === 'ancestors' ? [...n, i] : n
      return Buffer.concat([Buffer.from(`${row.join()}${b === null ? '-' : ':'}`), b ?? Buffer.alloc(0)])
    })
    const row = `concat(CAST(n AS BINARY), IF(b IS NULL, '-', ':'), coalesce(b, x''))`
    const count = `count(*) = ${expected.length}`
    const condition =
      expected.length === 0
        ? count
        : `${count} AND sum(${row} IN (${expected.map(literal).join()})) = ${expected.length}`
    return { text: `${unless(condition)} FROM (${question}) AS f`, values: valuesOf(read) }
  }

  #text(name: string, make: () => string): string {
    let text = this.#texts.get(name)
    if (text === undefined) this.#texts.set(name, (text = make()))
    return text
  }
}

/** Not FOR SHARE, which MariaDB does not know. */
const wordsOf = (lock: Lock): string => (lock === UPDATE ? 'FOR UPDATE' : 'LOCK IN SHARE MODE')
