/** pjdfstest (the Rust rewrite): POSIX semantics of the name space, by people who never saw this code. */

import { after, before, describe, it } from 'node:test'
import { mountedVolume, type TestVolume } from '../mount/harness.ts'
import { missing } from './judges.ts'
import { runPjdfstest } from './runs.ts'

describe('pjdfstest on a mount', { skip: missing('pjdfstest') }, () => {
  let volume: TestVolume
  before(() => {
    // With the trash on, a name that is removed lives on there, and the link count with it: 11 cases look at that.
    volume = mountedVolume({ format: ['--trash-days', '0'] })
  })
  after(() => volume.remove())

  it('passes the whole suite without a failure', () => runPjdfstest(volume))
})
