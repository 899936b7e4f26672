/** A mount seen from outside: its `.config` and `.stats`, read with a time limit, since whoever serves it may hang. A process of its
 *  own reads: it can be killed, where a thread of ours that waits for a mount would keep us from ending. */

import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
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
    const read = await askMount('cat', ['--', join(mountPoint, `${prefix}${name}`)])
    if (read.isTimeout) return null
    if (read.problem === null) return read.text
  }
  return null
}

export interface MountAnswer {
  /** what the program printed */
  readonly text: string
  /** what it said on standard error; null when it ended well */
  readonly problem: string | null
  readonly isTimeout: boolean
}

/** Has a small program look at a mount, for three seconds at most. */
export function askMount(program: string, args: readonly string[]): Promise<MountAnswer> {
  const env = { PATH: `${process.env.PATH ?? ''}:/usr/bin:/bin`, LC_ALL: 'C' }
  return new Promise(settle => {
    const limits = { timeout: ANSWER_MS, killSignal: 'SIGKILL', maxBuffer: 16 << 20 } as const
    execFile(program, args, { encoding: 'utf8', cwd: '/', env, ...limits }, (error, text, stderr) =>
      settle({ text, problem: error ? stderr || error.message : null, isTimeout: error?.killed === true }),
    )
  })
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
