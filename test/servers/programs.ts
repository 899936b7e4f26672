/** Servers for tests: started by the test on a free port of the loopback in a directory of their own, stopped by their process id.
 *  Several may run at once. Where a program is missing, `skipWithout` gives the reason to skip. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** where setup-servers.sh and setup-judges.sh keep what they build */
export const serversDir =
  process.env.JUICEFS_TS_JUDGES ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'juicefs-ts', 'judges')
const DIRS = [join(serversDir, 'bin'), '/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin']

/** Full path of a program, or of another file that lies among them; undefined where it is not installed. */
export function programPath(name: string): string | undefined {
  return DIRS.map(dir => join(dir, name)).find(existsSync)
}

/** Why a test that needs these programs is skipped, or false. */
export function skipWithout(...names: string[]): string | false {
  const absent = names.filter(name => programPath(name) === undefined)
  return absent.length === 0 ? false : `${absent.join(', ')} not installed (scripts/setup-servers.sh)`
}

export async function freePort(): Promise<number> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

export interface RunningProgram {
  readonly port: number
  /** a fresh directory, removed by `stop` */
  readonly dir: string
  readonly process: ChildProcess
  stop(): Promise<void>
}

export interface ProgramSetting {
  readonly name: string
  /** the command line, once port and directory are known; may write files first */
  readonly command: (port: number, dir: string) => Promise<readonly string[]> | readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly waitMs?: number
  /** what the program writes when it can be used; absent: when its port answers */
  readonly ready?: RegExp
}

/** Returns when it can be used. Fails with what the program wrote when it ends before. */
export async function startProgram(setting: ProgramSetting): Promise<RunningProgram> {
  const dir = await mkdtemp(join(tmpdir(), `server-${setting.name}-`))
  const port = await freePort()
  const [program, ...args] = await setting.command(port, dir)
  const child = spawn(program!, args, {
    cwd: dir,
    env: { ...process.env, ...setting.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', part => {
      output = (output + part).slice(-4000)
    })
  }
  const ended = once(child, 'exit')
  // A test that crashes must not leave its servers behind.
  const kill = (): void => void child.kill('SIGKILL')
  process.once('exit', kill)
  const stop = async (): Promise<void> => {
    process.off('exit', kill)
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGTERM')
      await Promise.race([ended, sleep(3000, undefined, { ref: false })])
      if (child.exitCode === null && child.signalCode === null) {
        kill()
        await ended
      }
    }
    await rm(dir, { recursive: true, force: true })
  }
  for (const deadline = performance.now() + (setting.waitMs ?? 20_000); ; ) {
    if (setting.ready ? setting.ready.test(output) : await answers(port)) return { port, dir, process: child, stop }
    if (child.exitCode !== null || performance.now() > deadline) {
      await stop()
      throw new Error(`${setting.name} did not start: ${output}`)
    }
    await sleep(50)
  }
}

function answers(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
