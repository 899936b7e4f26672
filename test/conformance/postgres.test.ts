import { after, before } from 'node:test'
import { PostgresEngine } from '../../src/meta/engine/postgres/engine.ts'
import { PostgresServer, postgresSkip } from '../servers/postgres.ts'
import { engineConformance } from './engine-suite.ts'

let server: PostgresServer
before(async () => {
  if (!postgresSkip) server = await PostgresServer.start()
})
after(() => server?.stop())

engineConformance(
  'postgres',
  async () => {
    const engine = await PostgresEngine.open(server.url(server.newDatabase()))
    return { engine, cleanUp: async () => {} }
  },
  { skip: postgresSkip, limits: { largestId: 2 ** 31 - 1, xattrNamesAreText: true } },
)
