/** The first half of a commit: every record that it builds on is locked, and compared with what was read.
 *
 *  Lock first, check second. A statement that waits for a lock still has the snapshot from before the wait: it would not see
 *  the child that was made meanwhile in the directory it is about to remove. The locked row itself is looked at again after
 *  the wait, in its newest version, so a node is locked and compared by one statement; all else is compared by statements
 *  that come after the locks. Locks are taken by ascending inode, then kind by kind, by everybody: no deadlocks.
 *
 *  A node that is only looked at is locked FOR SHARE (sql/node-holds.ts). With FOR UPDATE every creation would wait for the
 *  disk behind every other one in its directory: 400 a second instead of 3,000 and more (bench/postgres-flights.ts).
 *
 *  What does not hold raises an error, and the whole flight is undone. */

import { type Name, nameToBytes } from '../../../base/bytes.ts'
import { type Ino, inoToString } from '../../../base/ino.ts'
import type { Guard, Strength } from '../../engine.ts'
import { type Change, type Dentry, type Fact, QUOTA_DIR, type Read } from '../../facts.ts'
import type { Attr } from '../../model/attr.ts'
import { rowsOf, shapeOf } from '../sql/fact-rows.ts'
import { type Lock, nodeHoldsOf, UPDATE } from '../sql/node-holds.ts'
import { nodeValue } from '../sql/node-values.ts'
import { CHANGED } from './errors.ts'
import type { Statement } from './flight.ts'
import { places } from './gather.ts'
import { type Place, questionOf, valuesOf } from './questions.ts'
import type { Tables } from './tables.ts'

/** 1 where `condition` holds, else an error that says so. concat() is no constant to the planner, so nothing is raised while
 *  a statement is planned; and the words explain themselves in the server's log. */
export const unless = (condition: string, ...what: string[]): string =>
  `CASE WHEN ${condition} THEN 1 ELSE concat('${CHANGED}', ${what.join(', ')})::int END`

/** Compared by every strength, in the order of their values. */
const IDENTITY = ['type', 'flags', 'mode', 'uid', 'gid', 'rdev', 'parent', 'access_acl_id', 'default_acl_id', 'tier_id']
const LENGTH = ['nlink', 'length']
const TIMES = ['atime', 'mtime', 'ctime', 'atimensec', 'mtimensec', 'ctimensec']
const COMPARED: Readonly<Record<Strength, readonly string[]>> = {
  identity: IDENTITY,
  length: [...IDENTITY, ...LENGTH],
  exact: [...IDENTITY, ...LENGTH, ...TIMES],
}
const BIG = new Set(['parent', 'length', 'atime', 'mtime', 'ctime'])
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
    for (const guard of guards) {
      const { read, fact } = guard
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
      const equal = columns.map(name => `coalesce(${name}, 0) = ${$(BIG.has(name) ? 'bigint' : 'int')}`)
      return this.#held(lock, `inode = $1::bigint AND ${equal.join(' AND ')}`)
    })
    return {
      ...text,
      values: [inoToString(ino), ...columns.map(name => String(nodeValue(ino, attr, name, 'PostgreSQL')))],
    }
  }

  #requireNode(ino: Ino, lock: Lock): Statement {
    const text = this.#text(`require ${lock}`, () => this.#held(lock, 'inode = $1::bigint'))
    return { ...text, values: [inoToString(ino)] }
  }

  /** Whether it is there or not. */
  #lockNode(ino: Ino, lock: Lock): Statement {
    const text = this.#text(
      `lock ${lock}`,
      () => `SELECT 1 FROM ${this.#tables.name('node')} WHERE inode = $1::bigint ${wordsOf(lock)}`,
    )
    return { ...text, values: [inoToString(ino)] }
  }

  #absentNode(ino: Ino): Statement {
    const text = this.#text('absent node', () => {
      const found = `EXISTS (SELECT FROM ${this.#tables.name('node')} WHERE inode = $1::bigint)`
      return `SELECT ${unless(`NOT ${found}`, `'inode '`, '$1::bigint')}`
    })
    return { ...text, values: [inoToString(ino)] }
  }

  /** In a subquery, since rows that are counted cannot be locked. The WHERE is asked again of the row as it is after a wait. */
  #held(lock: Lock, where: string): string {
    const node = this.#tables.name('node')
    return `SELECT ${unless('count(*) = 1', `'inode '`, '$1::bigint')}
      FROM (SELECT 1 FROM ${node} WHERE ${where} ${wordsOf(lock)}) AS held`
  }

  #comparePrefix({ ino, index, prefix }: Change & { kind: 'replaceSlices' }): Statement {
    const text = this.#text(
      'prefix',
      () => `SELECT ${unless('count(*) = 1', `'chunk of inode '`, '$1::bigint')} FROM (
        SELECT 1 FROM ${this.#tables.name('chunk')} WHERE inode = $1::bigint AND indx = $2::int
          AND substr(slices, 1, length($3::bytea)) = $3::bytea FOR UPDATE) AS held`,
    )
    return { ...text, values: [inoToString(ino), String(index), prefix] }
  }

  /** The entry, and whether its directory is still empty. Where this commit inserts or replaces the entry itself, that
   *  statement checks it (apply.ts). */
  #dentry(read: Read & { kind: 'dentry' }, fact: Dentry | null, changes: readonly Change[]): Statement[] {
    const { parent, name } = read
    const statements: Statement[] = []
    if (!changes.some(change => isEntry(change, parent, name))) {
      const edge = this.#tables.name('edge')
      const where = `parent = $1::bigint AND name = $2::bytea`
      const place = [inoToString(parent), nameToBytes(name)]
      if (fact === null) {
        const text = this.#text(
          'absent entry',
          () => `SELECT ${unless(`NOT EXISTS (SELECT FROM ${edge} WHERE ${where})`, `'directory '`, '$1::bigint')}`,
        )
        statements.push({ ...text, values: place })
      } else {
        const text = this.#text(
          'entry',
          () => `SELECT ${unless('count(*) = 1', `'directory '`, '$1::bigint')} FROM (
            SELECT 1 FROM ${edge} WHERE ${where} AND inode = $3::bigint AND type = $4::int FOR UPDATE) AS held`,
        )
        statements.push({ ...text, values: [...place, inoToString(fact.ino), String(fact.type)] })
      }
    }
    if (fact?.empty !== undefined) {
      const text = this.#text('empty', () => {
        const hasEntries = `EXISTS (SELECT FROM ${this.#tables.name('edge')} WHERE parent = $1::bigint)`
        return `SELECT ${unless(`${hasEntries} <> $2::bool`, `'directory '`, '$1::bigint')}`
      })
      statements.push({ ...text, values: [inoToString(fact.ino), String(fact.empty)] })
    }
    return statements
  }

  /** The rows that a fact of one row stands in; lists are held by their node. A counter that is not there is made: 0. */
  #lockRows(read: Exclude<Read, { kind: 'node' | 'dentry' | 'aclId' }>): Statement[] {
    const t = this.#tables.name
    const values = valuesOf(read)
    const lock = (table: string, where: string): Statement[] => [
      { ...this.#text(`rows ${shapeOf(read)}`, () => `SELECT 1 FROM ${t(table)} WHERE ${where} FOR UPDATE`), values },
    ]
    switch (read.kind) {
      case 'chunk':
        return lock('chunk', 'inode = $1::bigint AND indx = $2::bigint')
      case 'xattr':
        return lock('xattr', 'inode = $1::bigint AND name = $2::text')
      case 'sliceRefs':
        return lock('chunk_ref', 'chunkid = $1::bigint AND size = $2::bigint')
      case 'sustained':
        return lock('sustained', 'sid = $1::bigint AND inode = $2::bigint')
      case 'deadFile':
        return lock('delfile', 'inode = $1::bigint')
      case 'trashedSlices':
        return lock('delslices', 'chunkid = $1::bigint AND deleted = $2::bigint')
      case 'dirUsage':
        return lock('dir_stats', 'inode = $1::bigint')
      case 'quota':
        return read.type === QUOTA_DIR
          ? lock('dir_quota', 'inode = $1::bigint')
          : lock('user_group_quota', 'qtype = $1::int AND qkey = $2::bigint')
      case 'session':
        return lock('session2', 'sid = $1::bigint')
      case 'format':
        return lock('setting', `name = 'format'`)
      case 'counter':
        return [
          {
            ...this.#text(
              'make counter',
              () => `INSERT INTO ${t('counter')} (name, value) VALUES ($1::text, 0) ON CONFLICT (name) DO NOTHING`,
            ),
            values,
          },
          ...lock('counter', 'name = $1::text'),
        ]
      default:
        return []
    }
  }

  /** Asked again, and compared as text: `{numbers}:bytes;…`. */
  #compareRows(read: Exclude<Read, { kind: 'node' | 'dentry' | 'aclId' }>, fact: Fact): Statement {
    const values = valuesOf(read)
    const text = this.#text(`same ${shapeOf(read)}`, () => {
      let count = 0
      const number = places()
      const $: Place = type => {
        count++
        return number(type)
      }
      const question = questionOf(read, 0, this.#tables, $)
      const now = `SELECT coalesce(string_agg(n || ':' || coalesce(b, '-'), ';'), '') FROM (${question}) AS f(i, n, b)`
      return `SELECT ${unless(`(${now}) = $${count + 1}::text`, `'${read.kind}'`, `' '::text`)}`
    })
    const expected = rowsOf(read, fact).map(({ n, b }) => `{${n.join()}}:${b === null ? '-' : b.toString('hex')}`)
    return { ...text, values: [...values, expected.join(';')] }
  }

  #text(name: string, make: () => string): { name: string; text: string } {
    let text = this.#texts.get(name)
    if (text === undefined) this.#texts.set(name, (text = make()))
    return { name, text }
  }
}

const wordsOf = (lock: Lock): string => (lock === UPDATE ? 'FOR UPDATE' : 'FOR SHARE')

const isEntry = (change: Change, parent: Ino, name: Name): boolean =>
  (change.kind === 'setDentry' || change.kind === 'delDentry') && change.parent === parent && change.name === name
