/** Random operations, seeded, on a mount and on a plain local directory side by side: every result (or errno) and, now and
 *  then, the whole trees must be equal. SEED=n replays one; a failure prints the operations that led to it. */

import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { size } from '../judges/judges.ts'
import { mountedVolume, mountSkip, type TestVolume } from '../mount/harness.ts'

/** mulberry32: small, seeded, good enough to choose operations */
function generator(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

const NAMES = ['a', 'b', 'c', 'dd', 'name with space', '\u00fcml\u00e4ut', 'x'.repeat(255), 'y'.repeat(256)]
const SIZES = [0, 1, 100, 4095, 4096, 65_536, 131_073, 4 << 20, (4 << 20) + 1]

interface Step {
  readonly what: string
  readonly run: (root: string) => unknown
}

function step(random: () => number): Step {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!
  const path = (): string => Array.from({ length: 1 + Math.floor(random() * 3) }, () => pick(NAMES)).join('/')
  const [p, q, length, byte] = [path(), path(), pick(SIZES), Math.floor(random() * 256)]
  const offset = Math.floor(random() * (random() < 0.1 ? 70 << 20 : 200_000))
  const piece = Buffer.alloc(Math.min(length, 300_000), byte)
  const mode = Math.floor(random() * 0o1000) | 0o600
  const at = (root: string, name = p): string => join(root, name)
  const steps: [string, (root: string) => unknown][] = [
    [`mkdir ${p}`, root => fs.mkdirSync(at(root), 0o755)],
    [`mkdir ${q}`, root => fs.mkdirSync(at(root, q), 0o755)],
    [`create ${p} ${length}`, root => fs.writeFileSync(at(root), Buffer.alloc(length, byte))],
    [
      `write ${p} ${piece.length}@${offset}`,
      root => onFile(at(root), 'r+', fd => fs.writeSync(fd, piece, 0, piece.length, offset)),
    ],
    [`append ${p} ${piece.length}`, root => fs.appendFileSync(at(root), piece)],
    [`read ${p} @${offset}`, root => onFile(at(root), 'r', fd => digest(readAt(fd, offset, 100_000)))],
    [`truncate ${p} ${offset}`, root => fs.truncateSync(at(root), offset)],
    [`unlink ${p}`, root => fs.unlinkSync(at(root))],
    [`rmdir ${p}`, root => fs.rmdirSync(at(root))],
    [`rename ${p} ${q}`, root => fs.renameSync(at(root), at(root, q))],
    [`link ${p} ${q}`, root => fs.linkSync(at(root), at(root, q))],
    [`symlink ${p} ${q}`, root => fs.symlinkSync(p, at(root, q))],
    [`readlink ${p}`, root => fs.readlinkSync(at(root))],
    [`chmod ${p} ${mode}`, root => fs.chmodSync(at(root), mode)],
    [`chown ${p}`, root => fs.lchownSync(at(root), byte, 1000 + byte)],
    [`utimes ${p}`, root => fs.lutimesSync(at(root), 1e9 + byte, 1e9 + offset)],
    [`stat ${p}`, root => describeNode(at(root))],
    [`list ${p}`, root => fs.readdirSync(at(root)).sort()],
  ]
  const [what, run] = pick(steps)
  return { what, run }
}

function onFile<T>(path: string, flags: string, work: (fd: number) => T): T {
  const fd = fs.openSync(path, flags)
  try {
    return work(fd)
  } finally {
    fs.closeSync(fd)
  }
}

function readAt(fd: number, offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  return bytes.subarray(0, fs.readSync(fd, bytes, 0, length, offset))
}

/** FNV-1a: equality of contents, cheap to print */
function digest(bytes: Buffer): string {
  let hash = 0x811c9dc5
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193)
  return `${bytes.length}:${(hash >>> 0).toString(16)}`
}

function describeNode(path: string): object {
  const s = fs.lstatSync(path)
  const isDirectory = s.isDirectory()
  return { mode: s.mode, uid: s.uid, gid: s.gid, nlink: isDirectory ? 0 : s.nlink, size: isDirectory ? 0 : s.size }
}

function outcome(work: () => unknown): unknown {
  try {
    return work() ?? 'ok'
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error)
  }
}

function treeOf(root: string, below = ''): Record<string, unknown> {
  const tree: Record<string, unknown> = {}
  for (const name of fs.readdirSync(join(root, below)).sort()) {
    if (below === '' && name.startsWith('.')) continue
    const path = join(below, name)
    const node = describeNode(join(root, path)) as { mode: number }
    const kind = node.mode & 0o170000
    tree[path] = {
      ...node,
      content:
        kind === 0o100000
          ? digest(fs.readFileSync(join(root, path)))
          : kind === 0o120000
            ? fs.readlinkSync(join(root, path))
            : '',
    }
    if (kind === 0o040000) Object.assign(tree, treeOf(root, path))
  }
  return tree
}

const seeds = process.env.SEED
  ? [Number(process.env.SEED)]
  : size(
      [1, 2, 3],
      Array.from({ length: 30 }, (_, i) => i + 1),
    )
const steps = size(400, 2000)

describe('a mount beside a local directory', { skip: mountSkip }, () => {
  let volume: TestVolume
  before(() => {
    // With the trash on, a name that is removed lives on there, and the link count with it.
    volume = mountedVolume({ format: ['--trash-days', '0'] })
  })
  after(() => volume.remove())

  for (const seed of seeds) {
    it(`gives the same results in ${steps} random operations of seed ${seed}`, () => {
      const random = generator(seed)
      const local = join(volume.dir, `local${seed}`)
      const mounted = join(volume.mountPoint, `seed${seed}`)
      fs.mkdirSync(local)
      fs.mkdirSync(mounted)
      const history: string[] = []
      for (let i = 0; i < steps; i++) {
        const { what, run } = step(random)
        const expected = outcome(() => run(local))
        history.push(`${what} -> ${JSON.stringify(expected)}`)
        assert.deepEqual(
          outcome(() => run(mounted)),
          expected,
          `SEED=${seed}, step ${i}: ${what}\n${history.slice(-30).join('\n')}`,
        )
      }
      assert.deepEqual(treeOf(mounted), treeOf(local), `SEED=${seed}`)
    })
  }
})
