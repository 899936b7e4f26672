/** What this client has read or changed a moment ago, on engines that are a round trip away: it stands in for the first gather
 *  of a change, whose commit then verifies it. The kernel has just asked LOOKUP and been told ENOENT; the attributes are those
 *  of our own last commit. A right guess saves a trip, a wrong one costs one; nothing is ever answered from here.
 *
 *      gathered, listed, committed ──► known for a second ──► guess ──► guard of a commit ──┬─ true: known again
 *                                                                                         └─ false: forgotten
 *
 *  Entries and nodes are kept apart, as they are stored. Bounded in number and age; kept for an engine in this process, it would
 *  only cost. */

import type { Name } from '../base/bytes.ts'
import type { Ino } from '../base/ino.ts'
import type { DirEntry } from './engine.ts'
import type { Change, Dentry, Fact, Read } from './facts.ts'
import type { AclRule } from './model/acl.ts'
import { type Attr, TYPE_DIRECTORY } from './model/attr.ts'

const LIFE_MS = 1000
const GENERATION = 8192
/** rules of ACLs are never changed nor removed, only forgotten here */
const MAX_RULES = 1000

/** A moment: what was asked for at one is older than what was learnt after it. */
export type Moment = number

type Target = Pick<Dentry, 'ino' | 'type'> | null
/** `undefined`: it changed, we do not know into what */
interface Known<V> {
  readonly value: V | undefined
  readonly moment: Moment
  readonly atMs: number
}

export class KnownFacts {
  readonly #nowMs: () => number
  readonly #nodes = new Bounded<Ino, Known<Attr | null>>()
  readonly #entries = new Bounded<string, Known<Target>>()
  /** a directory and what lies above it */
  readonly #chains = new Bounded<Ino, Known<readonly Ino[]>>()
  readonly #rules = new Map<number, AclRule>()
  readonly #ruleIds = new Map<string, number>()
  /** nodes that commits on their way write */
  readonly #changing = new Map<Ino, number>()
  #moment: Moment = 0

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  /** To be asked before a gather, and given back with what it brought. */
  get moment(): Moment {
    return this.#moment
  }

  /** What all of these reads would probably bring, or null. */
  guess(reads: readonly Read[]): readonly Fact[] | null {
    const facts: Fact[] = []
    for (const read of reads) {
      const fact = this.#guessOne(read)
      if (fact === undefined) return null
      facts.push(fact)
    }
    return facts
  }

  #guessOne(read: Read): Fact | undefined {
    switch (read.kind) {
      case 'node':
        return this.#current(this.#nodes.get(read.ino))
      case 'dentry': {
        const found = this.#current(this.#entries.get(entryKey(read.parent, read.name)))
        if (found === undefined) return undefined
        if (found === null) return null
        const attr = this.#current(this.#nodes.get(found.ino))
        if (attr === undefined) return undefined
        // Who asks is about to remove it, or to put something in its place.
        return read.empty === true ? { ...found, attr, empty: true } : { ...found, attr }
      }
      case 'ancestors':
        return this.#current(this.#chains.get(read.ino))
      case 'aclRule':
        return this.#rules.get(read.id)
      case 'aclId':
        return this.#ruleIds.get(JSON.stringify(read.rule))
      default:
        return undefined
    }
  }

  #current<V>(known: Known<V> | undefined): V | undefined {
    return known !== undefined && this.#nowMs() - known.atMs < LIFE_MS ? known.value : undefined
  }

  /** Facts that were asked for at `moment`. */
  learn(reads: readonly Read[], facts: readonly Fact[], moment: Moment): void {
    for (const [i, read] of reads.entries()) this.#learnOne(read, facts[i] as Fact, moment)
  }

  #learnOne(read: Read, fact: Fact, moment: Moment): void {
    switch (read.kind) {
      case 'node':
        this.#put(this.#nodes, read.ino, fact as Attr | null, moment)
        break
      case 'dentry':
        this.#learnEntry(read.parent, read.name, fact as Dentry | null, moment)
        break
      case 'ancestors':
        this.#put(this.#chains, read.ino, fact as readonly Ino[], moment)
        break
      case 'aclRule':
        if (fact !== null) boundedSet(this.#rules, read.id, fact as AclRule)
        break
      case 'aclId':
        boundedSet(this.#ruleIds, JSON.stringify(read.rule), fact as number)
        break
    }
  }

  #learnEntry(parent: Ino, name: Name, found: Dentry | null, moment: Moment): void {
    const target = found && { ino: found.ino, type: found.type }
    this.#put(this.#entries, entryKey(parent, name), target, moment)
    if (found) this.#put(this.#nodes, found.ino, found.attr, moment)
  }

  /** A page of a directory, with attributes: often the entries are removed next. */
  learnListed(parent: Ino, rows: readonly DirEntry[], moment: Moment): void {
    for (const { name, ino, type, attr } of rows) this.#learnEntry(parent, name, { ino, type, attr }, moment)
  }

  /** A commit sets out: what it writes is in doubt until it has ended. */
  changing(changes: readonly Change[]): void {
    for (const change of changes) {
      if (writesNode(change)) this.#changing.set(change.ino, (this.#changing.get(change.ino) ?? 0) + 1)
    }
  }

  /** Does another commit on its way write this node? Then it cannot be guessed exactly. */
  isChanging(ino: Ino): boolean {
    return this.#changing.has(ino)
  }

  /** The commit is done: its guards held, and its changes are so. */
  committed(reads: readonly Read[], facts: readonly Fact[], changes: readonly Change[]): void {
    this.#moment++
    this.#changed(changes)
    for (const [i, read] of reads.entries()) this.#confirm(read, facts[i] as Fact)
    for (const change of changes) this.#apply(change)
  }

  /** A guard did not hold, or nobody knows whether the commit was done. */
  failed(reads: readonly Read[], changes: readonly Change[]): void {
    this.#moment++
    this.#changed(changes)
    for (const read of reads) this.#forget(read)
    for (const change of changes) {
      if (writesNode(change)) this.#set(this.#nodes, change.ino, undefined)
      else if (change.kind === 'setDentry' || change.kind === 'delDentry')
        this.#set(this.#entries, entryKey(change.parent, change.name), undefined)
    }
  }

  #changed(changes: readonly Change[]): void {
    for (const change of changes) {
      if (!writesNode(change)) continue
      const count = this.#changing.get(change.ino)! - 1
      if (count > 0) this.#changing.set(change.ino, count)
      else this.#changing.delete(change.ino)
    }
  }

  /** The guard compared what matters; what we know of times and lengths may be newer than what the operation read. */
  #confirm(read: Read, fact: Fact): void {
    if (read.kind === 'node') this.#confirmNode(read.ino, fact as Attr | null)
    else if (read.kind === 'ancestors') this.#set(this.#chains, read.ino, fact as readonly Ino[])
    else if (read.kind === 'dentry') {
      const found = fact as Dentry | null
      this.#set(this.#entries, entryKey(read.parent, read.name), found && { ino: found.ino, type: found.type })
      if (found) this.#confirmNode(found.ino, found.attr)
    }
  }

  #confirmNode(ino: Ino, attr: Attr | null): void {
    this.#set(this.#nodes, ino, this.#nodes.get(ino)?.value ?? attr)
  }

  #apply(change: Change): void {
    switch (change.kind) {
      case 'putNode':
        this.#set(this.#nodes, change.ino, change.attr)
        break
      case 'delNode':
        this.#set(this.#nodes, change.ino, null)
        break
      case 'adjustDir':
        this.#adjust(change.ino, attr => {
          const times = change.at === null ? {} : { mtime: change.at, ctime: change.at }
          return { ...attr, nlink: attr.nlink + change.nlink, ...times }
        })
        break
      case 'extendNode': {
        const { mtime, ctime } = change
        this.#adjust(change.ino, attr => ({ ...attr, length: Math.max(attr.length, change.length), mtime, ctime }))
        break
      }
      case 'setDentry':
        this.#set(this.#entries, entryKey(change.parent, change.name), { ino: change.ino, type: change.type })
        // A directory that moved: every chain that leads through it is another one.
        if (change.type === TYPE_DIRECTORY) this.#chains.clear()
        break
      case 'delDentry':
        this.#set(this.#entries, entryKey(change.parent, change.name), null)
        break
    }
  }

  #adjust(ino: Ino, change: (attr: Attr) => Attr): void {
    const attr = this.#nodes.get(ino)?.value
    this.#set(this.#nodes, ino, attr ? change(attr) : undefined)
  }

  #forget(read: Read): void {
    if (read.kind === 'node') this.#set(this.#nodes, read.ino, undefined)
    else if (read.kind === 'ancestors') this.#set(this.#chains, read.ino, undefined)
    else if (read.kind === 'dentry') {
      const key = entryKey(read.parent, read.name)
      const found = this.#entries.get(key)?.value
      if (found) this.#set(this.#nodes, found.ino, undefined)
      this.#set(this.#entries, key, undefined)
    }
  }

  /** Known now. */
  #set<K, V>(to: Bounded<K, Known<V>>, key: K, value: V | undefined): void {
    to.set(key, { value, moment: this.#moment, atMs: this.#nowMs() })
  }

  /** Known as of `moment`, unless something was learnt since. */
  #put<K, V>(to: Bounded<K, Known<V>>, key: K, value: V, moment: Moment): void {
    const known = to.get(key)
    if (known !== undefined && known.moment > moment) return
    to.set(key, { value, moment, atMs: this.#nowMs() })
  }
}

const entryKey = (parent: Ino, name: Name): string => `${parent}/${name}`

type NodeChange = Change & { readonly kind: 'putNode' | 'delNode' | 'adjustDir' | 'extendNode' }
const writesNode = (change: Change): change is NodeChange =>
  change.kind === 'putNode' || change.kind === 'delNode' || change.kind === 'adjustDir' || change.kind === 'extendNode'

function boundedSet<K, V>(map: Map<K, V>, key: K, value: V): void {
  if (map.size >= MAX_RULES) map.clear()
  map.set(key, value)
}

/** A map of two generations: what was not set again for a whole one is gone. */
class Bounded<K, V> {
  #young = new Map<K, V>()
  #old = new Map<K, V>()

  get(key: K): V | undefined {
    return this.#young.get(key) ?? this.#old.get(key)
  }

  set(key: K, value: V): void {
    this.#young.set(key, value)
    if (this.#young.size < GENERATION) return
    this.#old = this.#young
    this.#young = new Map()
  }

  clear(): void {
    if (this.#young.size > 0) this.#young.clear()
    if (this.#old.size > 0) this.#old.clear()
  }
}
