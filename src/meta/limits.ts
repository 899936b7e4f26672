/** Capacity, inode limit and quotas as this client knows them: the numbers of the last refresh plus what this client has
 *  changed since (spec meta-model section 12). Growth is refused from here, without asking the engine. */

import { EDQUOT, ENOSPC, type Errno } from '../base/errno.ts'
import type { Ino } from '../base/ino.ts'
import type { Engine } from './engine.ts'
import { type Change, counter, QUOTA_DIR, QUOTA_GROUP, QUOTA_USER, type Quota, type QuotaType } from './facts.ts'
import type { Format } from './model/format.ts'
import type { Growth, Limits } from './model/volume.ts'
import { rowsOf } from './scan.ts'

interface Known {
  readonly maxSpace: number
  readonly maxInodes: number
  usedSpace: number
  usedInodes: number
}

export class KnownLimits implements Limits {
  userGroup = false
  capacity = 0
  inodes = 0
  usedSpace = 0
  usedInodes = 0
  #quotas: Record<QuotaType, Map<number, Known>> = {
    [QUOTA_DIR]: new Map(),
    [QUOTA_USER]: new Map(),
    [QUOTA_GROUP]: new Map(),
  }

  get hasDirQuotas(): boolean {
    return this.#quotas[QUOTA_DIR].size > 0
  }

  isQuotaDir(ino: Ino): boolean {
    return this.#quotas[QUOTA_DIR].has(ino)
  }

  quota(type: QuotaType, key: number): Quota | undefined {
    return this.#quotas[type].get(key)
  }

  /** Everything known of one type: by directory, user or group. */
  quotas(type: QuotaType): Iterable<readonly [key: number, quota: Quota]> {
    return this.#quotas[type]
  }

  /** Order of the checks: user, group, capacity, inodes, directories (spec section 12). */
  refuses(growth: Growth): Errno | undefined {
    const { space, inodes } = growth
    if (space <= 0 && inodes <= 0) return undefined
    if (growth.onlyDirectories) return this.#directoriesRefuse(growth)
    if (this.userGroup) {
      if (exceeds(this.#quotas[QUOTA_USER].get(growth.uid), space, inodes)) return EDQUOT
      if (exceeds(this.#quotas[QUOTA_GROUP].get(growth.gid), space, inodes)) return EDQUOT
    }
    if (this.capacity > 0 && space > 0 && this.usedSpace + space > this.capacity) return ENOSPC
    if (this.inodes > 0 && inodes > 0 && this.usedInodes + inodes > this.inodes) return ENOSPC
    return this.#directoriesRefuse(growth)
  }

  #directoriesRefuse({ ancestors, space, inodes }: Growth): Errno | undefined {
    if (!this.hasDirQuotas) return undefined
    return ancestors.some(dir => exceeds(this.#quotas[QUOTA_DIR].get(dir), space, inodes)) ? EDQUOT : undefined
  }

  /** What a commit of this client added, until the next refresh brings everybody's sum. */
  applied(changes: readonly Change[]): void {
    for (const change of changes) {
      if (change.kind === 'usage') {
        this.usedSpace += change.space
        this.usedInodes += change.inodes
      } else if (change.kind === 'quotaUsage') {
        const known = this.#quotas[change.type].get(change.key)
        if (known) {
          known.usedSpace += change.space
          known.usedInodes += change.inodes
        }
      }
    }
  }

  /** Reads limits from the setting, usage and quotas from the engine. */
  async refresh(engine: Engine, format: Format): Promise<void> {
    this.capacity = format.Capacity ?? 0
    this.inodes = format.Inodes ?? 0
    this.userGroup = format.UserGroupQuota === true
    const [space, inodes] = (await engine.gather([counter('usedSpace'), counter('totalInodes')], 'look')) as [
      number,
      number,
    ]
    this.usedSpace = space
    this.usedInodes = inodes
    for (const type of [QUOTA_DIR, QUOTA_USER, QUOTA_GROUP] as const) {
      if (type !== QUOTA_DIR && !this.userGroup) continue
      const fresh = new Map<number, Known>()
      for await (const { key, quota } of rowsOf(engine, 'quotas', { type })) fresh.set(key, { ...quota })
      this.#quotas[type] = fresh
    }
  }
}

function exceeds(quota: Known | undefined, space: number, inodes: number): boolean {
  if (quota === undefined) return false
  if (quota.maxSpace > 0 && space > 0 && quota.usedSpace + space > quota.maxSpace) return true
  return quota.maxInodes > 0 && inodes > 0 && quota.usedInodes + inodes > quota.maxInodes
}
