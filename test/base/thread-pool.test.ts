import assert from 'node:assert/strict'
import { it } from 'node:test'
import { ThreadPool } from '../../src/base/thread-pool.ts'

it('a job that cannot be sent to its thread fails, and those after it are done', async () => {
  const pool = new ThreadPool<string, string>({
    from: import.meta.url,
    module: './echo-worker',
    maxThreads: 1,
    jobsAThread: 2,
  })
  const echo = (request: string): Promise<string> => pool.run(() => ({ request, handedOver: [] }))
  const unmade = pool.run(() => {
    throw new Error('no memory')
  })
  const unsent = pool.run(() => ({ request: 'a', handedOver: [Buffer.from('pooled').buffer as ArrayBuffer] }))
  const jobs = ['b', 'c', 'd', 'e'].map(echo)
  await assert.rejects(unmade, /no memory/)
  await assert.rejects(unsent, /transfer/)
  assert.deepEqual(await Promise.all(jobs), ['b', 'c', 'd', 'e'])
  await pool.close(new Error('closed'))
  await assert.rejects(echo('f'), /closed/)
})
