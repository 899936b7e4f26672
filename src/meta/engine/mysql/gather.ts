/** One statement answers a whole gather: a SELECT a question, joined by UNION ALL. */

import type { Fact, Read } from '../../facts.ts'
import { aclValues } from '../sql/columns.ts'
import { type FactRow, factOf, shapeOf } from '../sql/fact-rows.ts'
import { type Question, questionOf, rowFrom, sortRows, valuesOf } from './questions.ts'
import { type Answer, places, type Statement } from './statement.ts'
import type { Tables } from './tables.ts'

/** Longer lists come in too many combinations to be worth keeping. */
const MAX_KEPT_QUESTIONS = 6

const isQuestion = (read: Read): read is Question => read.kind !== 'aclId'

export class Gatherer {
  readonly #tables: Tables
  readonly #texts = new Map<string, string>()
  readonly #newRule: string
  readonly #ruleId: string

  constructor(tables: Tables) {
    this.#tables = tables
    const acl = tables.name('acl')
    const known = `SELECT id FROM ${acl} WHERE owner = $1 AND \`group\` = $2 AND mask = $3 AND other = $4
      AND coalesce(named_users, x'') = $5 AND coalesce(named_groups, x'') = $6 ORDER BY id LIMIT 1`
    this.#newRule = `INSERT INTO ${acl} (owner, \`group\`, mask, other, named_users, named_groups)
      SELECT $1, $2, $3, $4, $5, $6 FROM (SELECT 0) AS one WHERE NOT EXISTS (${known})`
    this.#ruleId = known
  }

  /** The statements that answer these reads: one for all, and two for each ACL rule whose id is asked (it may be stored). */
  statements(reads: readonly Read[]): Statement[] {
    const questions = reads.filter(isQuestion)
    const statements: Statement[] = []
    if (questions.length > 0) statements.push({ text: this.#textOf(questions), values: questions.flatMap(valuesOf) })
    for (const read of reads) {
      if (read.kind !== 'aclId') continue
      // An equal rule shares its id. Rules are never deleted, so storing one is no change that could be taken back.
      const values = aclValues(read.rule)
      statements.push({ text: this.#newRule, values }, { text: this.#ruleId, values })
    }
    return statements
  }

  /** One fact a read, in order. Faults on records that cannot be decoded. */
  facts(reads: readonly Read[], answers: readonly Answer[]): Fact[] {
    const questions = reads.filter(isQuestion)
    const rows: FactRow[][] = questions.map(() => [])
    let next = 0
    if (questions.length > 0) {
      for (const [i, n, b] of answers[next++]!.rows) rows[Number(i)]!.push(rowFrom(n, b))
    }
    let question = 0
    return reads.map(read => {
      if (isQuestion(read)) {
        const own = rows[question++]!
        sortRows(read, own)
        return factOf(read, own)
      }
      next += 2
      return Number(answers[next - 1]!.rows[0]![0])
    })
  }

  #textOf(questions: readonly Question[]): string {
    const shape = questions.map(shapeOf).join()
    const known = this.#texts.get(shape)
    if (known !== undefined) return known
    const text = unionOf(questions, this.#tables)
    if (questions.length <= MAX_KEPT_QUESTIONS) this.#texts.set(shape, text)
    return text
  }
}

function unionOf(questions: readonly Question[], tables: Tables): string {
  const $ = places()
  return questions.map((read, i) => `(${questionOf(read, i, tables, $)})`).join('\nUNION ALL\n')
}
