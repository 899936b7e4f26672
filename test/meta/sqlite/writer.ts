/** A process of its own that creates files through the engine: `node writer.ts <url> <first inode> <count> <name prefix>`.
 *  It prints each name once its commit is there, as a user would see the reply. */

import { ROOT_INO } from '../../../src/base/ino.ts'
import { SqliteEngine } from '../../../src/meta/engine/sqlite/engine.ts'
import { dentry, node } from '../../../src/meta/facts.ts'
import { file, guard, inoOf } from './harness.ts'

const [url, first, count, prefix] = process.argv.slice(2) as [string, string, string, string]
const engine = SqliteEngine.open(url, { mustExist: true })

async function create(n: number): Promise<void> {
  const name = `${prefix}${n}`
  const ino = inoOf(Number(first) + n)
  for (;;) {
    const seen = await guard(engine, 'exact', node(ROOT_INO), dentry(ROOT_INO, name))
    const outcome = await engine.commit(
      seen.map(guard => ({ ...guard, strength: 'identity' })),
      [
        { kind: 'setDentry', parent: ROOT_INO, name, ino, type: 2 },
        { kind: 'putNode', ino, attr: file({ type: 2, nlink: 2 }) },
        { kind: 'adjustDir', ino: ROOT_INO, nlink: 1, at: { sec: n, nsec: 0 } },
        { kind: 'usage', space: 4096, inodes: 1 },
      ],
    )
    if (outcome.done) break
  }
  process.stdout.write(`${name}\n`)
}

for (let n = 0; n < Number(count); n += 5) {
  await Promise.all(Array.from({ length: 5 }, (_, k) => create(n + k)))
}
await engine.close()
