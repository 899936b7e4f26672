import { MemoryEngine } from '../../src/meta/engine/memory.ts'
import { engineConformance } from './engine-suite.ts'

engineConformance('memory', async () => ({ engine: new MemoryEngine(), cleanUp: async () => {} }))
engineConformance('memory, a turn later', async () => ({
  engine: new MemoryEngine({ deferred: true }),
  cleanUp: async () => {},
}))
