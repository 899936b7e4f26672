/** One statement answers a whole gather: a SELECT a question, joined by UNION ALL, prepared once a combination of kinds. */

import type { Fact, Read } from '../../facts.ts'
import { aclValues } from '../sql/columns.ts'
import { type FactRow, factOf, shapeOf } from '../sql/fact-rows.ts'
import type { Answer, Bound, Statement } from './flight.ts'
import { type Place, questionOf, rowFrom, valuesOf } from './questions.ts'
import type { Tables } from './tables.ts'

/** Longer lists come in too many combinations to be worth a place in the server's memory. */
const MAX_PREPARED_QUESTIONS = 6

type Question = Exclude<Read, { kind: 'aclId' }>
const isQuestion = (read: Read): read is Question => read.kind !== 'aclId'

export class Gatherer {
  readonly #tables: Tables
  readonly #texts = new Map<string, { readonly name: string; readonly text: string }>()
  readonly #newRule: string

  constructor(tables: Tables) {
    this.#tables = tables
    const acl = tables.name('acl')
    this.#newRule = `WITH known AS (SELECT id FROM ${acl}
        WHERE owner = $1::int AND "group" = $2::int AND mask = $3::int AND other = $4::int
          AND coalesce(named_users, '') = $5::bytea AND coalesce(named_groups, '') = $6::bytea ORDER BY id LIMIT 1),
      made AS (INSERT INTO ${acl} (owner, "group", mask, other, named_users, named_groups)
        SELECT $1::int, $2::int, $3::int, $4::int, $5::bytea, $6::bytea WHERE NOT EXISTS (SELECT FROM known) RETURNING id)
      SELECT id FROM known UNION ALL SELECT id FROM made`
  }

  /** The statements that answer these reads: one for all, and one for each ACL rule whose id is asked (it may store it). */
  statements(reads: readonly Read[]): Statement[] {
    const questions = reads.filter(isQuestion)
    const statements: Statement[] = []
    if (questions.length > 0) {
      statements.push({ ...this.#textOf(questions), values: questions.flatMap(valuesOf) })
    }
    for (const read of reads) {
      if (read.kind !== 'aclId') continue
      // An equal rule shares its id. Rules are never deleted, so storing one is no change that could be taken back.
      const values = aclValues(read.rule).map((value): Bound => (Buffer.isBuffer(value) ? value : String(value)))
      statements.push({ name: 'aclId', text: this.#newRule, values })
    }
    return statements
  }

  /** One fact a read, in order. Faults on records that cannot be decoded. */
  facts(reads: readonly Read[], answers: readonly Answer[]): Fact[] {
    const questions = reads.filter(isQuestion)
    const rows: FactRow[][] = questions.map(() => [])
    let next = 0
    if (questions.length > 0) for (const [i, n, b] of answers[next++]!.rows) rows[Number(i)]!.push(rowFrom(n!, b!))
    let question = 0
    return reads.map(read => {
      if (isQuestion(read)) return factOf(read, rows[question++]!)
      return Number(answers[next++]!.rows[0]![0])
    })
  }

  #textOf(questions: readonly Question[]): { name: string; text: string } {
    const shape = questions.map(shapeOf).join()
    const known = this.#texts.get(shape)
    if (known) return known
    const text = unionOf(questions, this.#tables)
    if (questions.length > MAX_PREPARED_QUESTIONS) return { name: '', text }
    const made = { name: `gather ${this.#tables.generation} ${this.#texts.size}`, text }
    this.#texts.set(shape, made)
    return made
  }
}

function unionOf(questions: readonly Question[], tables: Tables): string {
  const $ = places()
  return questions.map((read, i) => `(${questionOf(read, i, tables, $)})`).join('\nUNION ALL\n')
}

/** Numbers the values of a statement, from `first` on. */
export function places(first = 1): Place {
  let next = first
  return type => `$${next++}::${type}`
}
