import { openStore } from '../../src/object/open.ts'
import { objectSuite } from './object-suite.ts'

objectSuite('mem', async () => ({
  store: await openStore({ storage: 'mem', bucket: 'trial', name: 'vol' }),
  cleanUp: async () => {},
}))
