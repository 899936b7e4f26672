/** Who asks, and when: every change gets one. */

import type { Time } from '../../base/clock.ts'

export interface Caller {
  readonly uid: number
  readonly gid: number
  /** all groups, the primary one included; without client-side checks the primary one alone */
  readonly gids: readonly number[]
  readonly now: Time
  /** true: check mode bits and ACLs here (spec meta-model section 14). False: the kernel did (default_permissions). */
  readonly check: boolean
}

/** The client itself: background jobs, the trash, the command line. */
export const systemCaller = (now: Time): Caller => ({ uid: 0, gid: 0, gids: [0], now, check: false })
