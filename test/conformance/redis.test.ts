import { after, before } from 'node:test'
import { RedisEngine } from '../../src/meta/engine/redis/engine.ts'
import { RedisServer, redisSkip } from '../servers/redis.ts'
import { engineConformance } from './engine-suite.ts'

let server: RedisServer
before(async () => {
  if (!redisSkip) server = await RedisServer.start()
})
after(async () => await server?.remove())

const cleanUp = async (): Promise<void> => void server.cli('FLUSHALL')

engineConformance('redis', async () => ({ engine: await RedisEngine.open(server.url(3)), cleanUp }), {
  skip: redisSkip,
})
engineConformance(
  'redis, without scripts',
  async () => ({ engine: await RedisEngine.open(server.url(3), { withoutScripts: true }), cleanUp }),
  { skip: redisSkip },
)
