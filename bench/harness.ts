/** What the benchmark programs share: the client in C, the null file system as a process, the server's memory and CPU time
 *  from /proc, medians and the table. Each program compares pairs measured one after the other in the same run, because
 *  rates of a virtual machine drift by half within minutes while ratios hardly do. */

import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs, promisify } from 'node:util'
import { projectRoot } from '../test/mount/harness.ts'

const MiB = 1024
const exec = promisify(execFile)

/** The options of the command line, each a number where its default is one. Throws where one is unknown, or is no number. */
export function optionsOf<T extends Readonly<Record<string, number | string>>>(
  defaults: T,
): { readonly [K in keyof T]: T[K] extends number ? number : string } {
  const names = Object.keys(defaults)
  const { values } = parseArgs({ options: Object.fromEntries(names.map(name => [name, { type: 'string' as const }])) })
  const taken = names.map(name => {
    const given = values[name] ?? defaults[name]
    const value = typeof defaults[name] === 'number' ? Number(given) : given
    if (Number.isNaN(value)) throw new Error(`--${name} ${given}: a number is wanted`)
    return [name, value]
  })
  return Object.fromEntries(taken)
}

export const median = (list: readonly number[]): number => [...list].sort((a, b) => a - b)[list.length >> 1]!

/** Compiles bench/client.c below `dir`; returns its path. */
export function buildClient(dir: string): string {
  const path = join(dir, 'client')
  execFileSync('cc', ['-O2', '-pthread', '-o', path, join(projectRoot, 'bench', 'client.c')])
  return path
}

export type Step = 'fill' | 'stat' | 'create' | 'unlink' | 'readdir' | 'write' | 'read'

/** Runs one step of the client to its end; operations (entries, MiB) a second, for `readdir` also the seconds to the first. */
export async function measure(
  client: string,
  step: Step,
  directory: string,
  count: number,
  threads = 1,
): Promise<{ readonly rate: number; readonly firstSeconds: number }> {
  const { stdout } = await exec(client, [step, directory, String(count), String(threads)])
  const [rate = 0, firstSeconds = 0] = stdout.trim().split(' ').map(Number)
  return { rate, firstSeconds }
}

export interface NullMount {
  readonly mountPoint: string
  readonly pid: number
  stop(): Promise<void>
}

/** Serves bench/null-fs.ts below `dir`; the kernel keeps attributes and names for `keepSeconds`. `list`: what its file `big` is made
 *  of (see there). A session of its own, as a mount has: the scheduler shares a busy machine among sessions (sched(7), autogroup), and
 *  within that of the client it would get five times as many turns. */
export async function mountNull(dir: string, keepSeconds: number, list = '', pages = ''): Promise<NullMount> {
  const mountPoint = join(dir, list === '' ? `null-${keepSeconds}${pages}` : 'through')
  mkdirSync(mountPoint)
  const script = join(projectRoot, 'bench', 'null-fs.ts')
  const args = [script, mountPoint, String(1 << 20), String(keepSeconds), list, pages]
  const server: ChildProcess = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  })
  const ended = once(server, 'exit')
  await Promise.race([
    once(server.stdout!, 'data'),
    ended.then(() => {
      throw new Error('the null file system ended before it was ready')
    }),
  ])
  return {
    mountPoint,
    pid: server.pid!,
    stop: async () => {
      server.kill('SIGTERM')
      await ended
    },
  }
}

const statusField = (pid: number, field: string): number =>
  Number(new RegExp(`${field}:\\s+(\\d+)`).exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1])

export const rssMiB = (pid: number): number => statusField(pid, 'VmRSS') / MiB
export const peakMiB = (pid: number): number => statusField(pid, 'VmHWM') / MiB
/** The peak counts from now on (proc(5), clear_refs). */
export const resetPeak = (pid: number): void => writeFileSync(`/proc/${pid}/clear_refs`, '5')

/** User and system time of the process and its threads. */
export function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]!.split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

/** Prints rows under a head, the first column to the left, the others to the right. */
export function printTable(head: readonly string[], rows: readonly (readonly string[])[]): void {
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map(row => row[i]!.length)))
  for (const row of [head, ...rows])
    console.log(row.map((cell, i) => (i === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[i]!))).join('  '))
}

/** `0.52 (goal 0.50)`, with a remark where it is missed. */
export function ratioText(ratio: number, goal: number): string {
  return `${ratio.toFixed(2)} (goal ${goal.toFixed(2)}${ratio < goal ? ', missed' : ''})`
}

export const whole = (value: number): string => Math.round(value).toLocaleString('en-US')
