/** A file system as plain as can be: objects that point to each other. It knows what POSIX says of names, link counts,
 *  types, modes, lengths, xattrs and bytes, and nothing of how any of it is stored. Everybody is root.
 *
 *  Bytes are counted in cells of 16 MiB, four to a chunk: what a reader finds in one is which write put it there. */

import {
  EEXIST,
  EINVAL,
  EISDIR,
  ELOOP,
  ENODATA,
  ENOENT,
  ENOTDIR,
  ENOTEMPTY,
  EPERM,
  type Errno,
  isErrno,
} from '../../src/base/errno.ts'

export const CELL_BYTES = 2 ** 24

/** the n-th cell of a write; null = zeros */
export type Cell = { readonly write: number; readonly at: number } | null

export interface TreeNode {
  readonly type: 'file' | 'directory' | 'symlink'
  mode: number
  nlink: number
  readonly entries: Map<string, TreeNode>
  parent: TreeNode | null
  cells: Cell[]
  readonly target: string
  readonly xattrs: Map<string, string>
}

export interface Rename {
  readonly noReplace: boolean
  readonly exchange: boolean
}

export class ReferenceTree {
  readonly root = newNode('directory', 0o777, '')

  /** Walks without following symlinks. */
  find(path: readonly string[]): TreeNode | Errno {
    let at = this.root
    for (const name of path) {
      if (at.type !== 'directory') return ENOTDIR
      const next = at.entries.get(name)
      if (next === undefined) return ENOENT
      at = next
    }
    return at
  }

  make(dir: TreeNode, name: string, type: TreeNode['type'], mode: number, target: string): TreeNode | Errno {
    if (dir.type !== 'directory') return ENOTDIR
    if (dir.entries.has(name)) return EEXIST
    const node = newNode(type, mode, target)
    dir.entries.set(name, node)
    if (type === 'directory') {
      node.parent = dir
      dir.nlink++
    }
    return node
  }

  link(source: TreeNode, dir: TreeNode, name: string): TreeNode | Errno {
    if (dir.type !== 'directory') return ENOTDIR
    if (dir.entries.has(name)) return EEXIST
    if (source.type === 'directory') return EPERM
    if (source.nlink === 0) return ENOENT
    source.nlink++
    dir.entries.set(name, source)
    return source
  }

  unlink(dir: TreeNode, name: string): TreeNode | Errno {
    if (dir.type !== 'directory') return ENOTDIR
    const node = dir.entries.get(name)
    if (node === undefined) return ENOENT
    if (node.type === 'directory') return EISDIR
    dir.entries.delete(name)
    node.nlink--
    return node
  }

  rmdir(dir: TreeNode, name: string): TreeNode | Errno {
    if (dir.type !== 'directory') return ENOTDIR
    const node = dir.entries.get(name)
    if (node === undefined) return ENOENT
    if (node.type !== 'directory') return ENOTDIR
    if (node.entries.size > 0) return ENOTEMPTY
    dir.entries.delete(name)
    dir.nlink--
    node.nlink = 0
    return node
  }

  rename(from: TreeNode, name: string, to: TreeNode, newName: string, flags: Rename): TreeNode | Errno {
    if (from.type !== 'directory' || to.type !== 'directory') return ENOTDIR
    const moved = from.entries.get(name)
    const target = to.entries.get(newName)
    if (moved === undefined) return ENOENT
    if (target !== undefined && flags.noReplace) return EEXIST
    if (target === undefined && flags.exchange) return ENOENT
    if (target === moved) return moved
    if (from !== to && (isAbove(moved, to) || (flags.exchange && isAbove(target!, from)))) return EINVAL
    if (target !== undefined && !flags.exchange) {
      if (moved.type === 'directory' && target.type !== 'directory') return ENOTDIR
      if (moved.type !== 'directory' && target.type === 'directory') return EISDIR
      if (target.entries.size > 0) return ENOTEMPTY
      const removed = target.type === 'directory' ? this.rmdir(to, newName) : this.unlink(to, newName)
      if (isErrno(removed)) return removed
    }
    from.entries.delete(name)
    if (flags.exchange) place(target!, to, from, name)
    place(moved, from, to, newName)
    return moved
  }

  write(node: TreeNode, first: number, count: number, write: number): TreeNode | Errno {
    if (node.type !== 'file') return EPERM
    while (node.cells.length < first) node.cells.push(null)
    for (let i = 0; i < count; i++) node.cells[first + i] = { write, at: i }
    return node
  }

  truncate(node: TreeNode, count: number): TreeNode | Errno {
    if (node.type !== 'file') return EPERM
    node.cells.length = Math.min(node.cells.length, count)
    while (node.cells.length < count) node.cells.push(null)
    return node
  }

  /** Zeros over a range: beyond the end the file grows, unless it keeps its size. */
  zero(node: TreeNode, first: number, count: number, keepSize: boolean): TreeNode | Errno {
    if (node.type === 'directory') return EISDIR
    if (node.type !== 'file') return EPERM
    const before = node.cells.length
    for (let i = first; i < Math.min(first + count, before); i++) node.cells[i] = null
    return keepSize ? node : this.truncate(node, Math.max(before, first + count))
  }

  preallocate(node: TreeNode, first: number, count: number): TreeNode | Errno {
    if (node.type === 'directory') return EISDIR
    return node.type === 'file' ? this.truncate(node, Math.max(node.cells.length, first + count)) : EPERM
  }

  copy(source: TreeNode, from: number, target: TreeNode, to: number, count: number): TreeNode | Errno {
    if (source === target && Math.abs(from - to) < count) return EINVAL
    if (source.type !== 'file' || target.type !== 'file') return EINVAL
    const cells = source.cells.slice(from, from + count)
    if (cells.length === 0) return target
    while (target.cells.length < to) target.cells.push(null)
    for (const [i, cell] of cells.entries()) target.cells[to + i] = cell
    return target
  }

  open(node: TreeNode): TreeNode | Errno {
    if (node.type === 'symlink') return ELOOP
    return node.type === 'directory' ? EISDIR : node
  }

  setXattr(node: TreeNode, name: string, value: string, flags: number): TreeNode | Errno {
    if (flags === 1 && node.xattrs.has(name)) return EEXIST
    if (flags === 2 && !node.xattrs.has(name)) return ENODATA
    node.xattrs.set(name, value)
    return node
  }

  removeXattr(node: TreeNode, name: string): TreeNode | Errno {
    return node.xattrs.delete(name) ? node : ENODATA
  }
}

const newNode = (type: TreeNode['type'], mode: number, target: string): TreeNode => ({
  type,
  mode,
  nlink: type === 'directory' ? 2 : 1,
  entries: new Map(),
  parent: null,
  cells: [],
  target,
  xattrs: new Map(),
})

function isAbove(node: TreeNode, below: TreeNode): boolean {
  for (let at: TreeNode | null = below; at !== null; at = at.parent) if (at === node) return true
  return false
}

function place(node: TreeNode, from: TreeNode, to: TreeNode, name: string): void {
  to.entries.set(name, node)
  if (node.type !== 'directory') return
  from.nlink--
  to.nlink++
  node.parent = to
}
