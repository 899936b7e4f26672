import { after, before } from 'node:test'
import { MysqlEngine } from '../../src/meta/engine/mysql/engine.ts'
import { MariadbServer, mariadbSkip } from '../servers/mariadb.ts'
import { engineConformance } from './engine-suite.ts'

let server: MariadbServer
before(async () => {
  if (!mariadbSkip) server = await MariadbServer.start()
})
after(() => server?.stop())

engineConformance(
  'mysql',
  async () => {
    const engine = await MysqlEngine.open(server.url(server.newDatabase()))
    return { engine, cleanUp: async () => {} }
  },
  { skip: mariadbSkip, limits: { largestId: 2 ** 31 - 1, xattrNamesAreText: true } },
)
