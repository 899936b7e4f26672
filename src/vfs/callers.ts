/** From the kernel's request to the Caller that meta knows: squashing, supplementary groups, who checks permissions
 *  (spec vfs section 11.6). */

import { readFileSync } from 'node:fs'
import type { Clock, Time } from '../base/clock.ts'
import type { Caller } from '../meta/model/caller.ts'
import type { Identity, VfsConfig } from './config.ts'
import type { Context } from './file-system.ts'

const GROUPS_LIVE_MS = 5 * 60_000
const MAX_PROCESSES = 4096

export class Callers {
  readonly #clock: Clock
  readonly #config: VfsConfig
  readonly #groups: (pid: number) => readonly number[]
  readonly #known = new Map<number, { readonly groups: readonly number[]; readonly untilMs: number }>()

  /** `groupsOf`: supplementary groups of a process, by default from /proc. */
  constructor(clock: Clock, config: VfsConfig, groupsOf: (pid: number) => readonly number[] = groupsFromProc) {
    this.#clock = clock
    this.#config = config
    this.#groups = groupsOf
  }

  of(ctx: Context): Caller {
    const { allSquash, rootSquash, checkPermissions } = this.#config
    if (allSquash !== null) return this.#squashed(allSquash)
    if (rootSquash !== null && ctx.uid === 0) return this.#squashed(rootSquash)
    if (!checkPermissions) return new RequestCaller(this.#clock, ctx.uid, ctx.gid, [ctx.gid], false)
    return this.#checked(ctx)
  }

  /** For what the kernel has not checked, whatever the mount: requests by way of `.control`, which anybody may open. */
  ofControl(ctx: Context): Caller {
    const caller = this.of(ctx)
    return caller.check ? caller : this.#checked(ctx)
  }

  #checked(ctx: Context): Caller {
    return new RequestCaller(this.#clock, ctx.uid, ctx.gid, this.#allGroups(ctx), true)
  }

  #squashed({ uid, gid }: Identity): Caller {
    return new RequestCaller(this.#clock, uid, gid, [gid], true)
  }

  #allGroups(ctx: Context): readonly number[] {
    const nowMs = this.#clock.monotonicMs()
    const known = this.#known.get(ctx.pid)
    if (known !== undefined && known.untilMs > nowMs) return withPrimary(ctx.gid, known.groups)
    const groups = this.#groups(ctx.pid)
    if (this.#known.size >= MAX_PROCESSES) this.#known.clear()
    this.#known.set(ctx.pid, { groups, untilMs: nowMs + GROUPS_LIVE_MS })
    return withPrimary(ctx.gid, groups)
  }
}

const withPrimary = (gid: number, groups: readonly number[]): readonly number[] =>
  groups.includes(gid) ? groups : [gid, ...groups]

/** Reads the clock only when somebody asks for the time: a lookup does not. */
class RequestCaller implements Caller {
  readonly uid: number
  readonly gid: number
  readonly gids: readonly number[]
  readonly check: boolean
  readonly #clock: Clock
  #now: Time | undefined

  constructor(clock: Clock, uid: number, gid: number, gids: readonly number[], check: boolean) {
    this.#clock = clock
    this.uid = uid
    this.gid = gid
    this.gids = gids
    this.check = check
  }

  get now(): Time {
    this.#now ??= this.#clock.now()
    return this.#now
  }
}

/** The line `Groups:` of /proc/<pid>/status; none where the process is gone or lives in another pid namespace (pid 0). */
function groupsFromProc(pid: number): readonly number[] {
  try {
    const line = /^Groups:(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? ''
    return line.split(/\s+/).filter(Boolean).map(Number)
  } catch {
    return []
  }
}
