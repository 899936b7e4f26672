import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openStore } from '../../src/object/open.ts'
import { objectSuite } from './object-suite.ts'

objectSuite('file', async () => {
  const bucket = await mkdtemp(join(tmpdir(), 'object-file-'))
  return {
    store: await openStore({ storage: 'file', bucket: `${bucket}/`, name: 'vol' }),
    cleanUp: () => rm(bucket, { recursive: true }),
  }
})
