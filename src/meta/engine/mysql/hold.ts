/** The locks and checks of a commit (sql/hold-plan.ts) in MySQL's words.
 *
 *  Under READ COMMITTED each statement looks at the newest committed rows, so what comes after a lock that had to be waited for
 *  sees what happened meanwhile: the child that was made in the directory that is about to be removed. (Under REPEATABLE READ,
 *  MySQL's default, it would see the time before the wait.) A node is locked and compared by one statement, since a locking
 *  read looks at the newest row itself.
 *
 *  What does not hold raises an error, and the packet ends there. */

import { type Name, nameToBytes } from '../../../base/bytes.ts'
import { type Ino, inoToString } from '../../../base/ino.ts'
import type { Guard, Strength } from '../../engine.ts'
import type { Change, Dentry, Fact } from '../../facts.ts'
import type { Attr } from '../../model/attr.ts'
import { rowsOf, shapeOf } from '../sql/fact-rows.ts'
import { COMPARED, type HoldWords, holdPlan, type RowRead, rowOf } from '../sql/hold-plan.ts'
import { type Lock, UPDATE } from '../sql/node-holds.ts'
import { nodeValue } from '../sql/node-values.ts'
import { questionOf, utf8, valuesOf } from './questions.ts'
import { literal, places, type Statement, unless } from './statement.ts'
import type { Tables } from './tables.ts'

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
      const equal = columns.map(name => `coalesce(${name}, 0) = ${$()}`)
      return this.#held(lock, `inode = $1 AND ${equal.join(' AND ')}`)
    })
    return { text, values: [inoToString(ino), ...columns.map(name => nodeValue(ino, attr, name, 'MySQL'))] }
  }

  requireNode(ino: Ino, lock: Lock): Statement {
    return { text: this.#text(`require ${lock}`, () => this.#held(lock, 'inode = $1')), values: [inoToString(ino)] }
  }

  #held(lock: Lock, where: string): string {
    return `${unless('count(*) = 1')} FROM ${this.#tables.name('node')} WHERE ${where} ${wordsOf(lock)}`
  }

  lockNode(ino: Ino, lock: Lock): Statement {
    const node = this.#tables.name('node')
    return { text: `SELECT 1 FROM ${node} WHERE inode = $1 ${wordsOf(lock)}`, values: [inoToString(ino)] }
  }

  absentNode(ino: Ino): Statement {
    const node = this.#tables.name('node')
    return { text: `${unless('count(*) = 0')} FROM ${node} WHERE inode = $1`, values: [inoToString(ino)] }
  }

  comparePrefix({ ino, index, prefix }: Change & { kind: 'replaceSlices' }): Statement {
    const chunk = this.#tables.name('chunk')
    const text = `${unless('count(*) = 1')} FROM ${chunk}
      WHERE inode = $1 AND indx = $2 AND left(slices, $3) = $4 FOR UPDATE`
    return { text, values: [inoToString(ino), index, prefix.length, prefix] }
  }

  compareEntry(parent: Ino, name: Name, fact: Dentry | null): Statement {
    const place = [inoToString(parent), nameToBytes(name)]
    const where = `FROM ${this.#tables.name('edge')} WHERE parent = $1 AND name = $2`
    if (fact === null) return { text: `${unless('count(*) = 0')} ${where}`, values: place }
    return {
      text: `${unless('count(*) = 1')} ${where} AND inode = $3 AND type = $4 FOR UPDATE`,
      values: [...place, inoToString(fact.ino), fact.type],
    }
  }

  compareEmpty(ino: Ino, empty: boolean): Statement {
    const text = unless(`EXISTS (SELECT 1 FROM ${this.#tables.name('edge')} WHERE parent = $1) <> $2`)
    return { text, values: [inoToString(ino), empty ? 1 : 0] }
  }

  /** A counter that is not there is made: 0. */
  lockRows(read: RowRead): Statement[] {
    const row = rowOf(read)
    if (row === null) return []
    const table = this.#tables.name(row.table)
    const values = valuesOf(read)
    const $ = places()
    const isText = (column: string): boolean => read.kind === 'xattr' && column === 'name'
    const where = row.key.map(column => `${isText(column) ? utf8(column) : column} = ${$()}`).join(' AND ')
    const lock = { text: `SELECT 1 FROM ${table} WHERE ${where || `name = 'format'`} FOR UPDATE`, values }
    if (read.kind !== 'counter') return [lock]
    const make = `INSERT INTO ${table} (name, value) VALUES ($1, 0) ON DUPLICATE KEY UPDATE value = value`
    return [{ text: make, values }, lock]
  }

  /** Asked again, and compared as a set: no fact has the same row twice. */
  compareRows(read: RowRead, fact: Fact): Statement {
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
