/** A mount seen from outside: its `.config` and `.stats`, read with a time limit, since whoever serves it may hang. */

import { existsSync, readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const ANSWER_MS = 3000

export interface MountConfig {
  readonly Pid?: number
  readonly Format?: { readonly Name?: string; readonly UUID?: string }
  readonly Chunk?: { readonly CacheDir?: string; readonly Writeback?: boolean }
}

/** Null where there is no such file, or no answer in time. */
export async function readInternal(mountPoint: string, name: 'config' | 'stats'): Promise<string | null> {
  for (const prefix of ['.', '.jfs.']) {
    const text = await Promise.race([
      readFile(join(mountPoint, `${prefix}${name}`), 'utf8').catch(() => null),
      sleep(ANSWER_MS, null, { ref: false }),
    ])
    if (text !== null) return text
  }
  return null
}

export async function readConfig(mountPoint: string): Promise<MountConfig | null> {
  const text = await readInternal(mountPoint, 'config')
  try {
    return text === null ? null : (JSON.parse(text) as MountConfig)
  } catch {
    return null
  }
}

/** `name value` a line; equal names are summed (labels other than method and errno are not shown). */
export function parseStats(text: string): Map<string, number> {
  const stats = new Map<string, number>()
  for (const line of text.split('\n')) {
    const blank = line.lastIndexOf(' ')
    if (blank > 0)
      stats.set(line.slice(0, blank), (stats.get(line.slice(0, blank)) ?? 0) + Number(line.slice(blank + 1)))
  }
  return stats
}

/** Waits until a serving process is gone; false after `limitMs`. A pid that is not one of ours here (a container's) counts as gone. */
export async function waitForEnd(pid: number, limitMs: number): Promise<boolean> {
  const deadline = performance.now() + limitMs
  while (isServing(pid)) {
    if (performance.now() > deadline) return false
    await sleep(20)
  }
  return true
}

function isServing(pid: number): boolean {
  if (!existsSync(`/proc/${pid}`)) return false
  try {
    const isZombie = /^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'))
    return !isZombie && readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('juicefs')
  } catch {
    return false
  }
}
