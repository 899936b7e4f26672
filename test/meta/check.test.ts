/** Each kind of damage is seen, and told in one line. */

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { NO_INO, ROOT_INO, TRASH_INO } from '../../src/base/ino.ts'
import { checkVolume } from '../../src/meta/check.ts'
import { MemoryEngine } from '../../src/meta/engine/memory.ts'
import { type Change, node, QUOTA_DIR } from '../../src/meta/facts.ts'
import { type Attr, TYPE_DIRECTORY, TYPE_SYMLINK } from '../../src/meta/model/attr.ts'
import { encodeRecords } from '../../src/meta/model/slice.ts'
import { directory, file, inoOf } from '../conformance/engine/harness.ts'

const [DIR, FILE, LINKED, SYM, OPEN] = [2, 3, 4, 5, 6].map(inoOf) as [
  ReturnType<typeof inoOf>,
  ReturnType<typeof inoOf>,
  ReturnType<typeof inoOf>,
  ReturnType<typeof inoOf>,
  ReturnType<typeof inoOf>,
]
const entry = (parent: number, name: string, ino: number, type: number): Change => ({
  kind: 'setDentry',
  parent: inoOf(parent),
  name,
  ino: inoOf(ino),
  type,
})
const put = (ino: number, attr: Attr): Change => ({ kind: 'putNode', ino: inoOf(ino), attr })
const records = encodeRecords([
  { pos: 0, id: 1, size: 100, off: 0, len: 100 },
  { pos: 50, id: 1, size: 100, off: 0, len: 50 },
  { pos: 0, id: 0, size: 0, off: 0, len: 10 },
])

/** `/d/f`, `/d/l` and `/m` (one node), `/s`, and an unlinked file that session 1 keeps open. */
const SOUND: readonly Change[] = [
  { kind: 'putFormat', json: '{}' },
  put(ROOT_INO, directory({ nlink: 3 })),
  put(TRASH_INO, directory()),
  put(DIR, directory()),
  put(FILE, file({ parent: DIR, length: 100 })),
  put(LINKED, file({ parent: NO_INO, nlink: 2, length: 5000 })),
  put(SYM, file({ type: TYPE_SYMLINK, length: 3 })),
  put(OPEN, file({ nlink: 0 })),
  entry(ROOT_INO, 'd', DIR, TYPE_DIRECTORY),
  entry(DIR, 'f', FILE, 1),
  entry(DIR, 'l', LINKED, 1),
  entry(ROOT_INO, 'm', LINKED, 1),
  entry(ROOT_INO, 's', SYM, TYPE_SYMLINK),
  { kind: 'putSymlink', ino: SYM, target: 'abc' },
  { kind: 'putSession', sid: 1, expire: 9, info: null },
  { kind: 'sustain', sid: 1, ino: OPEN },
  { kind: 'usage', space: 6 * 4096, inodes: 5 },
  { kind: 'putDirUsage', ino: DIR, usage: { length: 5100, space: 3 * 4096, inodes: 2 } },
  {
    kind: 'putQuota',
    type: QUOTA_DIR,
    key: ROOT_INO,
    quota: { maxSpace: 0, maxInodes: 0, usedSpace: 7 * 4096, usedInodes: 5 },
  },
  { kind: 'appendSlices', ino: FILE, index: 0, records },
  { kind: 'newSlice', id: 1, size: 100, refs: 3 },
  { kind: 'trashSlices', id: 9, at: 5, items: Buffer.from('000000000000000100000064', 'hex') },
  { kind: 'deadFile', ino: inoOf(7), length: 1, at: 5 },
  { kind: 'appendSlices', ino: inoOf(7), index: 0, records: Buffer.alloc(0) },
  { kind: 'putCounter', name: 'nextInode', value: 100 },
  { kind: 'putCounter', name: 'nextChunk', value: 100 },
]

async function damaged(...changes: Change[]): Promise<string[]> {
  const engine = new MemoryEngine()
  engine.commit([], SOUND)
  if (changes.length > 0) {
    // What was looked at may be overwritten.
    const reads = changes.flatMap(change => ('ino' in change ? [node(change.ino)] : []))
    const facts = (await engine.gather(reads, 'change')) as (Attr | null)[]
    const guards = reads.map((read, i) => ({ read, fact: facts[i]!, strength: 'exact' as const }))
    const outcome = await engine.commit(guards, changes)
    assert.ok(outcome.done)
  }
  return await checkVolume(engine)
}

describe('checking a volume', () => {
  it('finds nothing wrong with a sound one', async () => {
    assert.deepEqual(await damaged(), [])
  })

  const cases: readonly (readonly [what: string, damage: Change, expected: readonly string[]])[] = [
    [
      'an entry whose node is gone',
      { kind: 'setDentry', parent: ROOT_INO, name: 'x', ino: inoOf(50), type: 1 },
      [
        "entry 'x' of directory 1 names inode 50, which is gone",
        'the quota of directory 1 counts 28672 bytes, 5 inodes; below it are 32768, 6',
      ],
    ],
    [
      'a node of another type than its entry says',
      put(SYM, file({ type: 4, length: 0 })),
      ["entry 's' of directory 1 says type 3, inode 5 says 4"],
    ],
    [
      'a file with a wrong link count',
      put(FILE, file({ parent: DIR, length: 100, nlink: 2 })),
      ['inode 3 has nlink 2 and 1 names'],
    ],
    [
      'a directory with a wrong link count',
      put(DIR, directory({ nlink: 3 })),
      ['directory 2 has nlink 3 and 0 directories in it'],
    ],
    [
      'a file that names the wrong directory',
      put(FILE, file({ parent: ROOT_INO, length: 100 })),
      ['inode 3 says its parent is 1, a name is in 2'],
    ],
    [
      'a directory that names the wrong parent',
      put(DIR, directory({ parent: inoOf(9) })),
      ['directory 2 says its parent is 9, its name is in 1'],
    ],
    [
      'an unlinked file that no session keeps',
      { kind: 'unsustain', sid: 1, ino: OPEN },
      ['inode 6 cannot be reached, and no session keeps it'],
    ],
    [
      'a session that keeps what is gone',
      { kind: 'sustain', sid: 1, ino: inoOf(60) },
      ['session 1 keeps inode 60, which is gone'],
    ],
    [
      'a file with names kept as unlinked',
      { kind: 'sustain', sid: 1, ino: FILE },
      ['inode 3 has names, and session 1 keeps it as unlinked'],
    ],
    ['too much usage', { kind: 'usage', space: 4096, inodes: 0 }, ['usedSpace is 28672, the nodes take 24576']],
    ['too many inodes', { kind: 'usage', space: 0, inodes: 1 }, ['totalInodes is 6, there are 5']],
    [
      'wrong statistics of a directory',
      { kind: 'dirUsage', ino: DIR, length: 1, space: 0, inodes: 0 },
      ["directory 2 says its children's length is 5101, it is 5100"],
    ],
    [
      'statistics of what is no directory',
      { kind: 'newDirUsage', ino: FILE },
      ['directory usage is kept for inode 3, which is no directory'],
    ],
    [
      'a quota that counts wrong',
      { kind: 'quotaUsage', type: QUOTA_DIR, key: ROOT_INO, space: 0, inodes: 1 },
      ['the quota of directory 1 counts 28672 bytes, 6 inodes; below it are 28672, 5'],
    ],
    [
      'a slice with too many references',
      { kind: 'refSlice', id: 1, size: 100, delta: 1 },
      ['slice 1 of 100 bytes is referred to 3 times, it counts 4'],
    ],
    [
      'a slice without a record',
      { kind: 'delSliceRefs', id: 1, size: 100 },
      ['slice 1 of 100 bytes is referred to 3 times, it counts nothing'],
    ],
    [
      'a slice that nobody names',
      { kind: 'newSlice', id: 2, size: 7, refs: 1 },
      ['slice 2 of 7 bytes is referred to 0 times, it counts 1'],
    ],
    [
      'a chunk of nothing',
      { kind: 'appendSlices', ino: inoOf(70), index: 2, records: Buffer.alloc(0) },
      ['chunk 2 of inode 70, which is no file'],
    ],
    [
      'a file recorded as removed',
      { kind: 'deadFile', ino: FILE, length: 1, at: 1 },
      ['inode 3 is there, and recorded as removed'],
    ],
    ['a symlink without a target', { kind: 'delSymlink', ino: SYM }, ['symlink 5 has no target']],
    [
      'a symlink of another length',
      { kind: 'putSymlink', ino: SYM, target: 'ab' },
      ['symlink 5 has length 3, its target has 2'],
    ],
    ['an ACL rule that is not stored', put(DIR, directory({ defaultAcl: 4 })), ['ACL rule 4 is not stored']],
    [
      'an inode that will be handed out again',
      { kind: 'putCounter', name: 'nextInode', value: 3 },
      ['inode 6 is beyond nextInode 3'],
    ],
    [
      'a slice id that will be handed out again',
      { kind: 'putCounter', name: 'nextChunk', value: 0 },
      ['slice 1 is beyond nextChunk 0'],
    ],
  ]
  for (const [what, damage, expected] of cases) {
    it(`sees ${what}`, async () => {
      assert.deepEqual(await damaged(damage), expected)
    })
  }

  it('sees a directory that two names lead to, and one that lies below itself', async () => {
    const twice = await damaged(entry(DIR, 'again', DIR, TYPE_DIRECTORY))
    assert.ok(twice.includes('directory 2 has 2 names'))
    const knot = await damaged(entry(DIR, 'self', DIR, TYPE_DIRECTORY), {
      kind: 'delDentry',
      parent: ROOT_INO,
      name: 'd',
    })
    assert.ok(knot.includes('inode 2 cannot be reached, and no session keeps it'))
  })
})
