/** The whole tree as the engine has it, against the reference: one line a difference. */

import { type Ino, ROOT_INO } from '../../src/base/ino.ts'
import type { Engine } from '../../src/meta/engine.ts'
import { chunk, node, xattr } from '../../src/meta/facts.ts'
import { type Attr, TYPE_DIRECTORY, TYPE_FILE, TYPE_SYMLINK } from '../../src/meta/model/attr.ts'
import { buildView, CHUNK_BYTES, decodeRecords, type SliceRecord } from '../../src/meta/model/slice.ts'
import { CELL_BYTES, type Cell, type ReferenceTree, type TreeNode } from './reference-tree.ts'

const TYPES = { file: TYPE_FILE, directory: TYPE_DIRECTORY, symlink: TYPE_SYMLINK } as const
const CELLS_A_CHUNK = CHUNK_BYTES / CELL_BYTES

export async function differences(engine: Engine, tree: ReferenceTree): Promise<string[]> {
  const wrong: string[] = []
  const inos = new Map<TreeNode, Ino>()
  const pending: (readonly [path: string, ino: Ino, expected: TreeNode])[] = [['', ROOT_INO, tree.root]]
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const [path, ino, expected] = next
    const known = inos.get(expected)
    if (known !== undefined && known !== ino) wrong.push(`${path}: inode ${ino}, another name of it is inode ${known}`)
    if (known !== undefined) continue
    inos.set(expected, ino)
    wrong.push(...(await nodeDifferences(engine, ino, expected)).map(line => `${path || '/'}: ${line}`))
    if (expected.type !== 'directory') continue
    const { rows } = await engine.scan('entries', { parent: ino, attrs: false }, null, 1e6)
    const names = rows.map(row => row.name).sort()
    const wanted = [...expected.entries.keys()].sort()
    if (names.join() !== wanted.join()) wrong.push(`${path || '/'}: has ${names.join()}, should have ${wanted.join()}`)
    for (const row of rows) {
      const child = expected.entries.get(row.name)
      if (child !== undefined) pending.push([`${path}/${row.name}`, row.ino, child])
    }
  }
  return wrong
}

async function nodeDifferences(engine: Engine, ino: Ino, expected: TreeNode): Promise<string[]> {
  const [attr] = (await engine.gather([node(ino)], 'look')) as [Attr | null]
  if (attr === null) return [`inode ${ino} is gone`]
  const wrong: string[] = []
  const compare = (what: string, is: unknown, should: unknown): void => {
    if (is !== should) wrong.push(`${what} is ${is}, should be ${should}`)
  }
  compare('type', attr.type, TYPES[expected.type])
  compare('mode', attr.mode, expected.mode)
  compare('nlink', attr.nlink, expected.nlink)
  for (const [name, value] of expected.xattrs) {
    const [stored] = (await engine.gather([xattr(ino, name)], 'look')) as [Buffer | null]
    compare(`xattr ${name}`, stored?.toString(), value)
  }
  const [names] = (await engine.gather([{ kind: 'xattrNames', ino }], 'look')) as [readonly string[]]
  compare('xattrs', [...names].sort().join(), [...expected.xattrs.keys()].sort().join())
  if (expected.type === 'symlink') {
    const [target] = await engine.gather([{ kind: 'symlink', ino }], 'look')
    compare('target', target, expected.target)
  }
  if (expected.type === 'file') {
    compare('length', attr.length, expected.cells.length * CELL_BYTES)
    compare(
      'bytes',
      (await cellsOf(engine, ino, expected.cells.length)).map(spell).join(' '),
      expected.cells.map(spell).join(' '),
    )
  }
  return wrong
}

const spell = (cell: Cell | undefined): string => (cell ? `${cell.write}+${cell.at}` : '0')

/** What a reader finds in each cell of the file. */
async function cellsOf(engine: Engine, ino: Ino, count: number): Promise<Cell[]> {
  const cells: Cell[] = []
  for (let index = 0; cells.length < count; index++) {
    const [stored] = (await engine.gather([chunk(ino, index)], 'look')) as [Buffer | null]
    const view = stored === null ? [] : buildView(decodeRecords(stored))
    for (let i = 0; i < CELLS_A_CHUNK && cells.length < count; i++) cells.push(cellAt(view, i * CELL_BYTES))
  }
  return cells
}

function cellAt(view: readonly SliceRecord[], pos: number): Cell {
  const segment = view.find(each => each.pos <= pos && pos < each.pos + each.len)
  if (segment === undefined || segment.id === 0) return null
  return { write: segment.id, at: (segment.off + pos - segment.pos) / CELL_BYTES }
}
