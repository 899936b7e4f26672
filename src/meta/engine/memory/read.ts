/** Facts out of maps. */

import { type Ino, isTrash, NO_INO, ROOT_INO } from '../../../base/ino.ts'
import type { Dentry, Fact, FlockHolder, PlockHolder, Read } from '../../facts.ts'
import type { AclRule } from '../../model/acl.ts'
import type { Tables } from './tables.ts'

/** a chain of parents longer than this is a loop */
const DEEPEST = 65536

export function readFact(tables: Tables, read: Read): Fact {
  switch (read.kind) {
    case 'node':
      return tables.nodes.get(read.ino) ?? null
    case 'dentry':
      return dentryOf(tables, read)
    case 'chunk':
      return tables.chunks.get(read.ino)?.get(read.index) ?? null
    case 'chunkIndexes':
      return ascending(tables.chunks.get(read.ino)?.keys()).filter(index => index >= read.from && index < read.to)
    case 'symlink':
      return tables.symlinks.get(read.ino) ?? null
    case 'xattr':
      return tables.xattrs.get(read.ino)?.get(read.name) ?? null
    case 'xattrNames':
      return [...(tables.xattrs.get(read.ino)?.keys() ?? [])].sort()
    case 'flocks':
      return byHolder(tables.flocks.get(read.ino)).map(({ sid, owner, type }): FlockHolder => ({ sid, owner, type }))
    case 'plocks':
      return byHolder(tables.plocks.get(read.ino)).map(
        ({ sid, owner, records }): PlockHolder => ({ sid, owner, records }),
      )
    case 'parents': {
      const counts = tables.parents.get(read.ino)
      return ascending(counts?.keys()).map(parent => ({ parent, count: counts!.get(parent)! }))
    }
    case 'ancestors':
      return ancestorsOf(tables, read.ino)
    case 'aclRule':
      return tables.aclRules[read.id - 1] ?? null
    case 'aclId':
      return aclIdOf(tables, read.rule)
    case 'sliceRefs': {
      const slice = tables.sliceRefs.get(read.id)
      return slice?.size === read.size ? slice.refs : null
    }
    case 'sustained':
      return tables.sustained.get(read.sid)?.has(read.ino) ?? false
    case 'deadFile':
      return tables.deadFiles.get(read.ino) ?? null
    case 'trashedSlices': {
      const trashed = tables.trashedSlices.get(read.id)
      return trashed?.at === read.at ? trashed.items : null
    }
    case 'dirUsage':
      return tables.dirUsages.get(read.ino) ?? null
    case 'quota':
      return tables.quotas[read.type].get(read.key) ?? null
    case 'counter':
      return tables.counters.get(read.name) ?? 0
    case 'session':
      return tables.sessions.get(read.sid) ?? null
    case 'format':
      return tables.format
  }
}

function dentryOf(tables: Tables, read: Read & { readonly kind: 'dentry' }): Dentry | null {
  const edge = tables.edge(read.parent, read.name)
  if (edge === undefined) return null
  const { ino, type } = edge
  const attr = tables.nodes.get(ino) ?? null
  return read.empty === true ? { ino, type, attr, empty: !tables.directories.has(ino) } : { ino, type, attr }
}

function ancestorsOf(tables: Tables, ino: Ino): readonly Ino[] {
  const chain: Ino[] = []
  for (let at = ino; at !== NO_INO && chain.length < DEEPEST; ) {
    const attr = tables.nodes.get(at)
    if (attr === undefined) break
    chain.push(at)
    if (at === ROOT_INO || isTrash(at)) break
    at = attr.parent
  }
  return chain
}

/** An equal rule shares its id; rules are never deleted, so storing one is no change that could be taken back. */
function aclIdOf(tables: Tables, rule: AclRule): number {
  const text = spell(rule)
  const known = tables.aclRules.findIndex(stored => spell(stored) === text)
  return known >= 0 ? known + 1 : tables.aclRules.push(rule)
}

const spell = ({ owner, group, mask, other, namedUsers, namedGroups }: AclRule): string =>
  JSON.stringify([owner, group, mask, other, ...[namedUsers, namedGroups].map(list => list.map(e => [e.id, e.perm]))])

const ascending = <K extends number>(keys: Iterable<K> | undefined): K[] => [...(keys ?? [])].sort((a, b) => a - b)

const byHolder = <Row extends { sid: number; owner: string }>(rows: Map<string, Row> | undefined): Row[] =>
  [...(rows?.values() ?? [])].sort((a, b) => a.sid - b.sid || (a.owner < b.owner ? -1 : 1))
