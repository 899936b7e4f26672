import { after, describe } from 'node:test'
import { openStore } from '../../src/object/open.ts'
import type { RunningProgram } from '../servers/programs.ts'
import { ACCESS_KEY, SECRET_KEY, skipS3Proxy, skipVersity, startS3Proxy, startVersity } from '../servers/s3.ts'
import { objectSuite } from './object-suite.ts'

/** One server for the whole suite, a bucket for each test. */
function suiteOver(name: string, skip: string | false, start: () => Promise<RunningProgram>): void {
  describe(name, { skip }, () => {
    let server: Promise<RunningProgram> | undefined
    let buckets = 0
    after(async () => (await server)?.stop())
    objectSuite(`s3 on ${name}`, async () => {
      const { port } = await (server ??= start())
      const bucket = `http://127.0.0.1:${port}/bucket-${++buckets}`
      const setting = { storage: 's3', bucket, name: 'vol', accessKey: ACCESS_KEY, secretKey: SECRET_KEY }
      const store = await openStore(setting)
      await store.create()
      return { store, cleanUp: async () => {} }
    })
  })
}

suiteOver('versitygw', skipVersity, startVersity)
suiteOver('s3proxy', skipS3Proxy, startS3Proxy)
