/** This client's session: its record, its heartbeat, and the clean-up after sessions whose client is gone
 *  (spec meta-model sections 15 and 16). */

import { readFileSync, readlinkSync } from 'node:fs'
import { hostname, networkInterfaces } from 'node:os'

import type { Clock } from '../base/clock.ts'

/** As stored, JSON; the last two are ours: they let a client on the same machine tell at once that the process of a
 *  session is dead, instead of after five heartbeats. Other readers ignore them. */
export interface SessionInfo {
  readonly Version: string
  readonly HostName: string
  readonly IPAddrs?: readonly string[]
  readonly MountPoint: string
  readonly MountTime: string
  readonly ProcessID: number
  readonly BootID?: string
  readonly PidNamespace?: string
}

/** Must parse as at least 1.4 for the version checks of other clients (design.md, trap i). */
export const sessionVersion = (ours: string): string => `1.4.1+juicefs-ts.${ours}`

export function describeSession(options: {
  version: string
  mountPoint: string
  clock: Clock
  interfaces?: readonly string[]
}): SessionInfo {
  const { sec, nsec } = options.clock.now()
  const addresses: string[] = []
  for (const [name, list] of Object.entries(networkInterfaces())) {
    if (options.interfaces?.length && !options.interfaces.includes(name)) continue
    for (const address of list ?? [])
      if (!address.internal && !address.address.startsWith('fe80:')) addresses.push(address.address)
  }
  return {
    Version: sessionVersion(options.version),
    HostName: hostname(),
    ...(addresses.length > 0 ? { IPAddrs: addresses } : {}),
    MountPoint: options.mountPoint,
    MountTime: `${new Date(sec * 1000).toISOString().slice(0, 19)}.${String(nsec).padStart(9, '0')}Z`,
    ProcessID: process.pid,
    ...machine(),
  }
}

/** The fields of a session's record; null where it has none, or they cannot be read. */
export function readSessionInfo(info: Buffer | null): Readonly<Record<string, unknown>> | null {
  if (info === null) return null
  try {
    const fields: unknown = JSON.parse(info.toString('utf8'))
    return typeof fields === 'object' ? (fields as Record<string, unknown> | null) : null
  } catch {
    return null
  }
}

function machine(): { BootID?: string; PidNamespace?: string } {
  try {
    return {
      BootID: readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim(),
      PidNamespace: readlinkSync('/proc/self/ns/pid'),
    }
  } catch {
    return {}
  }
}

/** Is the process of this session certainly gone? Only where boot and process namespace are ours can we know. */
export function processIsGone(info: Buffer | null): boolean {
  if (info === null) return false
  try {
    const session = JSON.parse(info.toString('utf8')) as SessionInfo
    const here = machine()
    if (here.BootID === undefined || session.BootID !== here.BootID || session.PidNamespace !== here.PidNamespace)
      return false
    return isDead(session.ProcessID)
  } catch {
    return false // an unreadable record expires by its time
  }
}

/** A zombie has let go of everything, and stays one for ever where nobody reaps it: in a container without an init. A living
 *  process of another user may be missing from /proc (`hidepid`), but not from kill(2). */
function isDead(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false
  try {
    process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH'
  }
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  const state = stat[stat.lastIndexOf(')') + 2]
  return state === 'Z' || state === 'X'
}
