import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ENOENT, ENOTDIR } from '../../../src/base/errno.ts'
import { node } from '../../../src/meta/facts.ts'
import { TYPE_DIRECTORY } from '../../../src/meta/model/attr.ts'
import { storeDirUsage } from '../../../src/meta/ops/dir-usage.ts'
import { attrOf, DIR, decide } from './decide.ts'

test('recounted statistics are stored for a directory and for nothing else', () => {
  const usage = { length: 1, space: 4096, inodes: 1 }
  const directory = attrOf({ type: TYPE_DIRECTORY })
  assert.deepEqual(decide(storeDirUsage(DIR, usage), [[node(DIR), directory]]).changes, [
    { kind: 'putDirUsage', ino: DIR, usage },
  ])
  assert.equal(decide(storeDirUsage(DIR, usage)).errno, ENOENT)
  assert.equal(decide(storeDirUsage(DIR, usage), [[node(DIR), attrOf()]]).errno, ENOTDIR)
})
