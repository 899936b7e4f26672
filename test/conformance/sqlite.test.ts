import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SqliteEngine } from '../../src/meta/engine/sqlite/engine.ts'
import { engineConformance } from './engine-suite.ts'

engineConformance('sqlite3', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'juicefs-ts-conformance-'))
  const engine = SqliteEngine.open(`sqlite3://${join(dir, 'volume.db')}`, {})
  return { engine, cleanUp: () => rm(dir, { recursive: true, force: true }) }
})
