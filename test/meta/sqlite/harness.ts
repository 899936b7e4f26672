/** A SQLite engine on a file of its own, and the records that the tests write with it. */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { ROOT_INO } from '../../../src/base/ino.ts'
import { SqliteEngine } from '../../../src/meta/engine/sqlite/engine.ts'
import { directory, write } from '../../conformance/engine/harness.ts'

export { ACL_RULE, directory, file, guard, inoOf, read, write } from '../../conformance/engine/harness.ts'

export class Volume {
  readonly dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-sqlite-'))
  readonly path = join(this.dir, 'volume.db')
  readonly url = `sqlite3://${this.path}`
  readonly #engines: SqliteEngine[] = []

  open(options: Parameters<typeof SqliteEngine.open>[1] = {}): SqliteEngine {
    const engine = SqliteEngine.open(this.url, options)
    this.#engines.push(engine)
    return engine
  }

  /** What another program sees: its own connection, one query, exact integers. */
  query(sql: string, ...values: unknown[]): unknown[][] {
    const db = new Database(this.path, { readonly: true, timeout: 2000 })
    try {
      return db
        .prepare(sql)
        .raw()
        .safeIntegers()
        .all(...values) as unknown[][]
    } finally {
      db.close()
    }
  }

  /** A statement of another program. */
  exec(sql: string): void {
    const db = new Database(this.path, { timeout: 2000 })
    try {
      db.exec(sql)
    } finally {
      db.close()
    }
  }

  async remove(): Promise<void> {
    for (const engine of this.#engines) await engine.close()
    rmSync(this.dir, { recursive: true, force: true })
  }
}

/** A volume with a root directory. */
export async function formatted(engine: SqliteEngine): Promise<void> {
  await engine.prepare()
  await write(
    engine,
    { kind: 'putFormat', json: '{"Name": "test"}' },
    { kind: 'putNode', ino: ROOT_INO, attr: directory({ parent: ROOT_INO }) },
  )
}
