/** What tests of engines share: records to put into a volume, how to ask an engine by hand; and for the suite of all engines a fresh
 *  volume for each test. */

import assert from 'node:assert/strict'
import { it } from 'node:test'
import { Fault } from '../../../src/base/fault.ts'
import { type Ino, ROOT_INO } from '../../../src/base/ino.ts'
import type { Cursor, Engine, Guard, Outcome, Page, ScanKind, Scans, Strength } from '../../../src/meta/engine.ts'
import type { Change, Fact, FactOf, Read } from '../../../src/meta/facts.ts'
import type { AclRule } from '../../../src/meta/model/acl.ts'
import { type Attr, TYPE_DIRECTORY, TYPE_FILE } from '../../../src/meta/model/attr.ts'
import type { Volume } from '../../../src/meta/model/volume.ts'

/** A fresh, empty engine for each test, and what removes it afterwards. */
export type EngineFactory = () => Promise<{ readonly engine: Engine; readonly cleanUp: () => Promise<void> }>

/** What a database cannot hold though the format could. */
export interface EngineLimits {
  /** of uid, gid, rdev */
  readonly largestId: number
  /** names of xattrs are text: they must be UTF-8 */
  readonly xattrNamesAreText: boolean
}
export const NO_LIMITS: EngineLimits = { largestId: 2 ** 32 - 1, xattrNamesAreText: false }

export const inoOf = (n: number): Ino => n as Ino

export const file = (fields: Partial<Attr> = {}): Attr => ({
  type: TYPE_FILE,
  flags: 0,
  mode: 0o644,
  uid: 0,
  gid: 0,
  atime: { sec: 1, nsec: 0 },
  mtime: { sec: 1, nsec: 0 },
  ctime: { sec: 1, nsec: 0 },
  nlink: 1,
  length: 0,
  rdev: 0,
  parent: ROOT_INO,
  accessAcl: 0,
  defaultAcl: 0,
  tier: 0,
  ...fields,
})
export const directory = (fields: Partial<Attr> = {}): Attr =>
  file({ type: TYPE_DIRECTORY, mode: 0o755, nlink: 2, length: 4096, ...fields })

/** the rule of the format's worked examples */
export const ACL_RULE: AclRule = {
  owner: 6,
  group: 4,
  mask: 7,
  other: 4,
  namedUsers: [{ id: 1000, perm: 7 }],
  namedGroups: [{ id: 2000, perm: 5 }],
}

export const NO_QUOTAS: Volume['limits'] = {
  hasDirQuotas: false,
  userGroup: false,
  isQuotaDir: () => false,
  refuses: () => undefined,
}
/** As operations are told of it. */
export const volumeWith = (changed: Partial<Volume>): Volume => ({
  readOnly: false,
  acl: false,
  dirStats: true,
  skipDirMtimeNs: 0,
  limits: NO_QUOTAS,
  ...changed,
})

/** Commits without guards; it must be done. Who expects a refusal asks `engine.commit`. */
export async function write(engine: Engine, ...changes: Change[]): Promise<Outcome & { readonly done: true }> {
  const outcome = await engine.commit([], changes)
  assert.ok(outcome.done, `refused without a guard: ${changes.map(({ kind }) => kind)}`)
  return outcome
}

export async function read<R extends Read>(engine: Engine, wanted: R): Promise<FactOf<R>> {
  const [fact] = await engine.gather([wanted], 'look')
  return fact as FactOf<R>
}

/** Gathers as an operation does, and gives what its commit guards. */
export async function guard(engine: Engine, strength: Strength, ...reads: Read[]): Promise<Guard[]> {
  const facts = await engine.gather(reads, 'change')
  return reads.map((each, i) => ({ read: each, fact: facts[i] as Fact, strength }))
}

/** Every row of a scan, by pages of `limit`. */
export async function all<K extends ScanKind>(
  engine: Engine,
  kind: K,
  args: Scans[K]['args'],
  limit = 100,
): Promise<Scans[K]['row'][]> {
  const rows: Scans[K]['row'][] = []
  let cursor: Cursor | null = null
  do {
    const page: Page<Scans[K]['row']> = await engine.scan(kind, args, cursor, limit)
    assert.ok(page.rows.length <= limit, 'a page is no longer than asked for')
    rows.push(...page.rows)
    cursor = page.next
  } while (cursor !== null)
  return rows
}

/** Opening a database of a server fails within five seconds, with this message and without the password (`secret`). */
export async function refusesToOpen(opening: Promise<Engine>, message: RegExp): Promise<void> {
  const startMs = performance.now()
  await assert.rejects(opening, (error: unknown) => {
    assert.ok(error instanceof Fault, String(error))
    assert.match(error.message, message)
    assert.ok(!error.message.includes('secret'), error.message)
    return true
  })
  assert.ok(performance.now() - startMs < 5500, 'within five seconds')
}

export class Bench {
  readonly engine: Engine

  constructor(engine: Engine) {
    this.engine = engine
  }

  /** Commits without guards; it must be done. Resolves to the results. */
  async write(...changes: Change[]): Promise<readonly (number | undefined)[]> {
    return (await write(this.engine, ...changes)).results
  }

  read<R extends Read>(wanted: R): Promise<FactOf<R>> {
    return read(this.engine, wanted)
  }

  guard(strength: Strength, ...reads: Read[]): Promise<Guard[]> {
    return guard(this.engine, strength, ...reads)
  }

  async commit(guards: readonly Guard[], ...changes: Change[]): Promise<Outcome> {
    return await this.engine.commit(guards, changes)
  }

  /** Every row of a scan, by short pages. */
  scan<K extends ScanKind>(kind: K, args: Scans[K]['args'], limit = 2): Promise<Scans[K]['row'][]> {
    return all(this.engine, kind, args, limit)
  }
}

export type Claim = (sentence: string, body: (bench: Bench) => Promise<void>) => void

/** Tests on a volume of their own that has a root directory. */
export const claims =
  (factory: EngineFactory): Claim =>
  (sentence, body) => {
    it(sentence, async () => {
      const { engine, cleanUp } = await factory()
      try {
        await engine.prepare()
        const bench = new Bench(engine)
        await bench.write(
          { kind: 'putFormat', json: '{"Name": "test"}' },
          { kind: 'putNode', ino: ROOT_INO, attr: directory({ mode: 0o777 }) },
        )
        await body(bench)
      } finally {
        await engine.close()
        await cleanUp()
      }
    })
  }
