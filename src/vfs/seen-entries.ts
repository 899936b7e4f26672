/** Which entries a listing has handed out: a set of inode and name in 12 bytes a slot, since a directory may have millions.
 *
 *  An inode number is compared whole, of a name 32 bits of a hash: taken for seen by mistake is only one of two names that the
 *  same directory gives to the same node, once in 4 billion. 256 small tables that grow one at a time: growing a large one
 *  would stall every other request. */

import type { Name } from '../base/bytes.ts'
import type { Ino } from '../base/ino.ts'

const TABLES = 256
const FIRST_SLOTS = 16

interface Table {
  /** 0 = free */
  inos: Float64Array
  hashes: Uint32Array
  count: number
}

export class SeenEntries {
  readonly #tables: (Table | undefined)[] = new Array(TABLES)

  /** False if it was there already. */
  add(ino: Ino, name: Name): boolean {
    const hash = hashOf(name)
    const mixed = mix(ino, hash)
    const index = mixed >>> 24
    let table = this.#tables[index]
    if (table === undefined) this.#tables[index] = table = emptyTable(FIRST_SLOTS)
    if (!put(table, ino, hash, mixed)) return false
    if (++table.count > table.inos.length * 0.7) this.#tables[index] = grown(table)
    return true
  }
}

const emptyTable = (slots: number): Table => ({
  inos: new Float64Array(slots),
  hashes: new Uint32Array(slots),
  count: 0,
})

function put(table: Table, ino: number, hash: number, mixed: number): boolean {
  const { inos, hashes } = table
  const mask = inos.length - 1
  let slot = mixed & mask
  for (; inos[slot] !== 0; slot = (slot + 1) & mask) if (inos[slot] === ino && hashes[slot] === hash) return false
  inos[slot] = ino
  hashes[slot] = hash
  return true
}

function grown({ inos, hashes, count }: Table): Table {
  const table = emptyTable(inos.length * 2)
  for (let i = 0; i < inos.length; i++) {
    if (inos[i] !== 0) put(table, inos[i]!, hashes[i]!, mix(inos[i]!, hashes[i]!))
  }
  table.count = count
  return table
}

/** FNV-1a over the name's bytes. */
function hashOf(name: Name): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193)
  return hash >>> 0
}

function mix(ino: number, hash: number): number {
  let mixed = Math.imul(ino ^ hash, 0x9e3779b1)
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x85ebca6b)
  return (mixed ^ (mixed >>> 13)) >>> 0
}
