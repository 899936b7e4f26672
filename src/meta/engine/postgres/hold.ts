/** The locks and checks of a commit (sql/hold-plan.ts) in PostgreSQL's words.
 *
 *  A statement that waits for a lock still has the snapshot from before the wait: it would not see the child that was made
 *  meanwhile in the directory it is about to remove. The locked row itself is looked at again after the wait, in its newest
 *  version, so a node is locked and compared by one statement; all else is compared by statements that come after the locks.
 *
 *  A node that is only looked at is locked FOR SHARE (sql/node-holds.ts). With FOR UPDATE every creation would wait for the
 *  disk behind every other one in its directory: 400 a second instead of 3,000 and more (bench/postgres-flights.ts).
 *
 *  What does not hold raises an error, and the whole flight is undone. */

import { type Name, nameToBytes } from '../../../base/bytes.ts'
import { type Ino, inoToString } from '../../../base/ino.ts'
import type { Guard, Strength } from '../../engine.ts'
import type { Change, Dentry, Fact } from '../../facts.ts'
import type { Attr } from '../../model/attr.ts'
import { rowsOf, shapeOf } from '../sql/fact-rows.ts'
import { COMPARED, type HoldWords, holdPlan, type RowRead, rowOf } from '../sql/hold-plan.ts'
import { type Lock, UPDATE } from '../sql/node-holds.ts'
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

/** columns of a node that are no INTEGER */
const BIG = new Set(['parent', 'length', 'atime', 'mtime', 'ctime'])
/** of columns that rows are found by; the others are BIGINT */
const KEY_TYPES: Readonly<Record<string, 'text' | 'int'>> = { name: 'text', qtype: 'int' }

export class Holder implements HoldWords<Statement> {
  readonly #tables: Tables
  readonly #texts = new Map<string, string>()

  constructor(tables: Tables) {
    this.#tables = tables
  }

  statements(guards: readonly Guard[], changes: readonly Change[]): Statement[] {
    return holdPlan(this, guards, changes)
  }

  compareNode(ino: Ino, attr: Attr, strength: Strength, lock: Lock): Statement {
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

  requireNode(ino: Ino, lock: Lock): Statement {
    const text = this.#text(`require ${lock}`, () => this.#held(lock, 'inode = $1::bigint'))
    return { ...text, values: [inoToString(ino)] }
  }

  lockNode(ino: Ino, lock: Lock): Statement {
    const text = this.#text(
      `lock ${lock}`,
      () => `SELECT 1 FROM ${this.#tables.name('node')} WHERE inode = $1::bigint ${wordsOf(lock)}`,
    )
    return { ...text, values: [inoToString(ino)] }
  }

  absentNode(ino: Ino): Statement {
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

  comparePrefix({ ino, index, prefix }: Change & { kind: 'replaceSlices' }): Statement {
    const text = this.#text(
      'prefix',
      () => `SELECT ${unless('count(*) = 1', `'chunk of inode '`, '$1::bigint')} FROM (
        SELECT 1 FROM ${this.#tables.name('chunk')} WHERE inode = $1::bigint AND indx = $2::int
          AND substr(slices, 1, length($3::bytea)) = $3::bytea FOR UPDATE) AS held`,
    )
    return { ...text, values: [inoToString(ino), String(index), prefix] }
  }

  compareEntry(parent: Ino, name: Name, fact: Dentry | null): Statement {
    const edge = this.#tables.name('edge')
    const where = `parent = $1::bigint AND name = $2::bytea`
    const place = [inoToString(parent), nameToBytes(name)]
    if (fact === null) {
      const text = this.#text(
        'absent entry',
        () => `SELECT ${unless(`NOT EXISTS (SELECT FROM ${edge} WHERE ${where})`, `'directory '`, '$1::bigint')}`,
      )
      return { ...text, values: place }
    }
    const text = this.#text(
      'entry',
      () => `SELECT ${unless('count(*) = 1', `'directory '`, '$1::bigint')} FROM (
        SELECT 1 FROM ${edge} WHERE ${where} AND inode = $3::bigint AND type = $4::int FOR UPDATE) AS held`,
    )
    return { ...text, values: [...place, inoToString(fact.ino), String(fact.type)] }
  }

  compareEmpty(ino: Ino, empty: boolean): Statement {
    const text = this.#text('empty', () => {
      const hasEntries = `EXISTS (SELECT FROM ${this.#tables.name('edge')} WHERE parent = $1::bigint)`
      return `SELECT ${unless(`${hasEntries} <> $2::bool`, `'directory '`, '$1::bigint')}`
    })
    return { ...text, values: [inoToString(ino), String(empty)] }
  }

  /** A counter that is not there is made: 0. */
  lockRows(read: RowRead): Statement[] {
    const row = rowOf(read)
    if (row === null) return []
    const table = this.#tables.name(row.table)
    const values = valuesOf(read)
    const text = this.#text(`rows ${shapeOf(read)}`, () => {
      const $ = places()
      const where = row.key.map(column => `${column} = ${$(KEY_TYPES[column] ?? 'bigint')}`).join(' AND ')
      return `SELECT 1 FROM ${table} WHERE ${where || `name = 'format'`} FOR UPDATE`
    })
    const lock = { ...text, values }
    if (read.kind !== 'counter') return [lock]
    const make = this.#text(
      'make counter',
      () => `INSERT INTO ${table} (name, value) VALUES ($1::text, 0) ON CONFLICT (name) DO NOTHING`,
    )
    return [{ ...make, values }, lock]
  }

  /** Asked again, and compared as text: `{numbers}:bytes;…`. */
  compareRows(read: RowRead, fact: Fact): Statement {
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
