/** What the simulated clients share beside the metadata: the object store, the clock, the names they fight for. */

import { ENOSPC } from '../../src/base/errno.ts'
import { type Ino, isTrash, ROOT_INO, TRASH_INO } from '../../src/base/ino.ts'
import { isPromise } from '../../src/base/maybe.ts'
import { checkVolume } from '../../src/meta/check.ts'
import { Driver } from '../../src/meta/driver.ts'
import type { Engine, ScanKind, Scans } from '../../src/meta/engine.ts'
import { counter, type Fact, QUOTA_DIR, QUOTA_USER } from '../../src/meta/facts.ts'
import { spaceOf, TYPE_DIRECTORY, TYPE_FILE } from '../../src/meta/model/attr.ts'
import { type Caller, systemCaller } from '../../src/meta/model/caller.ts'
import type { Volume } from '../../src/meta/model/volume.ts'
import { initVolume } from '../../src/meta/ops/init-volume.ts'
import { make } from '../../src/meta/ops/make.ts'
import { rowsOf } from '../../src/meta/scan.ts'
import type { Random } from './random.ts'

export const DIRECTORY_NAMES = ['D0', 'D1', 'D2']
export const FILE_NAMES = ['f0', 'f1', 'f2', 'f3']

/** The inodes that everybody works on, those met last first, so that clients get into each other's way. */
class Known {
  readonly #always: readonly Ino[]
  #inos: Ino[] = []

  constructor(always: readonly Ino[]) {
    this.#always = always
  }

  add(ino: Ino): void {
    if (this.#always.includes(ino)) return
    this.#inos = [ino, ...this.#inos.filter(each => each !== ino)].slice(0, KNOWN)
  }

  pick(random: Random): Ino {
    return random.skewed([...this.#inos, ...this.#always])
  }
}

const KNOWN = 6
const MAX_INODES = 150
const NO_SUCH_INO = 1e9 as Ino
export const FIRST_SEC = 1_795_244_400

export interface WorldOptions {
  /** A directory has a quota. Directories then stay where they are, since the size of a tree that moves between quotas is
   *  counted beforehand, and what others change meanwhile is not in it. */
  readonly quota: boolean
  readonly trash: boolean
  /** Unix seconds that all clients agree on; without it each of them lets time pass as it likes. */
  readonly nowSec?: () => number
}

export class World {
  readonly engine: Engine
  readonly random: Random
  readonly options: WorldOptions
  /** ids of the slices whose objects are stored */
  readonly objects = new Set<number>()
  /** sessions of clients that crashed and were not cleaned up yet */
  readonly stale = new Set<number>()
  readonly directories = new Known([ROOT_INO])
  readonly files = new Known([NO_SUCH_INO])
  /** the directory that the volume begins with */
  top: Ino = ROOT_INO
  /** the directory with a quota */
  quotaDir: Ino | null = null
  readonly volume: Volume
  #nowSec = FIRST_SEC
  #inodes = 0

  constructor(engine: Engine, random: Random, options: WorldOptions) {
    this.engine = engine
    this.random = random
    this.options = options
    this.volume = {
      readOnly: false,
      acl: true,
      dirStats: true,
      skipDirMtimeNs: 1e8,
      limits: {
        hasDirQuotas: options.quota,
        userGroup: true,
        isQuotaDir: ino => ino === this.quotaDir,
        refuses: ({ inodes, onlyDirectories }) =>
          inodes > 0 && !onlyDirectories && this.#isFull() ? ENOSPC : undefined,
      },
    }
  }

  /** Hours pass, but an operation is on its way for minutes at most. */
  caller(): Caller {
    this.#nowSec = this.options.nowSec?.() ?? this.#nowSec + this.random.below(15)
    const now = { sec: this.#nowSec, nsec: this.random.below(1e9) }
    const uid = this.random.below(3)
    return uid === 0 ? systemCaller(now) : { uid: 0, gid: uid, gids: [uid], now, check: false }
  }

  get nowSec(): number {
    return this.#nowSec
  }

  /** A small volume is looked at quickly, and its clients meet often. An engine far away tells how full it was a moment ago. */
  #isFull(): boolean {
    const know = (facts: readonly Fact[]): void => {
      this.#inodes = facts[0] as number
    }
    const facts = this.engine.gather([counter('totalInodes')], 'look')
    if (isPromise(facts)) facts.then(know, () => undefined)
    else know(facts)
    return this.#inodes >= MAX_INODES
  }

  /** Any entry of a directory, of the kind that is wanted. */
  async nameIn(parent: Ino, isDirectory: boolean): Promise<string | undefined> {
    const entries = await this.#all('entries', { parent, attrs: false })
    const fitting = entries.filter(({ type }) => (type === TYPE_DIRECTORY) === isDirectory)
    return fitting.length > 0 ? this.random.pick(fitting).name : undefined
  }

  /** Somebody comes upon any file or directory: else those that all have forgotten would fill the volume. */
  async wander(): Promise<void> {
    const { ino, attr } = this.random.pick(await this.#all('nodes', {}))
    if (isTrash(ino)) return
    if (attr.type === TYPE_DIRECTORY) this.directories.add(ino)
    else if (attr.type === TYPE_FILE) this.files.add(ino)
  }

  /** A formatted volume with a directory or two. */
  async format(): Promise<void> {
    const driver = new Driver(this.engine, { random: this.random.next, onEffect: () => undefined })
    const { now } = this.caller()
    await driver.run('change', () => initVolume('{"DirStats":true}', { isNew: true, trash: true, now }))
    await this.engine.commit([], [{ kind: 'newDirUsage', ino: ROOT_INO }])
    const ino = ((await this.engine.allocate('nextInode', 2)) + 1) as Ino // the first may be the root's
    const what = { type: TYPE_DIRECTORY, mode: 0o777, umask: 0, rdev: 0, target: '' }
    await driver.run('change', () =>
      make(this.volume, systemCaller(now), ROOT_INO, 'top', ino, what, { orExisting: false }),
    )
    this.directories.add(ino)
    this.top = ino
    if (!this.options.quota) return
    const quota = { maxSpace: -1, maxInodes: -1, usedSpace: 0, usedInodes: 0 }
    await this.engine.commit([], [{ kind: 'putQuota', type: QUOTA_DIR, key: ino, quota }])
    this.quotaDir = ino
  }

  /** What the stored lists name must be stored. */
  async missingObjects(): Promise<string[]> {
    return (await this.#all('sliceRefs', {}))
      .filter(({ id, refs }) => refs > 0 && !this.objects.has(id))
      .map(({ id }) => `slice ${id} is referred to, and its objects are gone`)
  }

  /** Every user pays for the nodes that are theirs. */
  async wrongOwners(): Promise<string[]> {
    const used = new Map<number, number>()
    for (const { ino, attr } of await this.#all('nodes', {})) {
      if (ino === ROOT_INO || ino === TRASH_INO) continue
      used.set(attr.uid, (used.get(attr.uid) ?? 0) + spaceOf(attr))
    }
    return (await this.#all('quotas', { type: QUOTA_USER }))
      .filter(({ key, quota }) => quota.usedSpace !== (used.get(key) ?? 0))
      .map(({ key, quota }) => `user ${key} is charged ${quota.usedSpace} bytes, and has ${used.get(key) ?? 0}`)
  }

  async violations(): Promise<string[]> {
    return [...(await checkVolume(this.engine)), ...(await this.missingObjects()), ...(await this.wrongOwners())]
  }

  async #all<K extends ScanKind>(kind: K, args: Scans[K]['args']): Promise<Scans[K]['row'][]> {
    const rows: Scans[K]['row'][] = []
    for await (const row of rowsOf(this.engine, kind, args)) rows.push(row)
    return rows
  }
}
