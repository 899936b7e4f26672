/** Several mounts of one volume, as many machines would be: each a process of its own with a cache of its own. */

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { silentLog } from '../../src/base/log.ts'
import { openEngine } from '../../src/cmd/volume.ts'
import type { Engine } from '../../src/meta/engine.ts'
import type { EngineServer, TestedEngine } from '../servers/engines.ts'
import { cli, newVolume, type TestVolume } from './harness.ts'

export { python } from './harness.ts'

export interface ManyClients {
  readonly volume: TestVolume
  readonly server: EngineServer
  readonly engine: Engine
  readonly mounts: readonly string[]
  /** Mounts one more; its mount point. */
  mountOne(extra?: readonly string[]): string
  /** Mounts where one was. */
  mountAgain(mount: string): void
  /** pid of the process that serves a mount */
  pid(mount: string): number
  log(mount: string): string
  remove(): Promise<void>
}

/** A heartbeat a second: what a heartbeat brings does not hold a test up. */
export async function manyClients(
  tested: TestedEngine,
  count: number,
  options: { format?: readonly string[]; mount?: readonly string[] } = {},
): Promise<ManyClients> {
  const server = await tested.start()
  const volume = newVolume({ metaUrl: server.newDatabase()(), format: options.format ?? ['--trash-days', '0'] })
  const mounts: string[] = []
  const logOf = (mount: string): string => `${mount}.log`
  const mountOne = (extra: readonly string[] = []): string => {
    const mount = join(volume.dir, `client${mounts.length}`)
    mkdirSync(mount)
    mounts.push(mount)
    mountAt(mount, extra)
    return mount
  }
  const mountAt = (mount: string, extra: readonly string[]): void => {
    const places = ['--log', logOf(mount), '--cache-dir', `${mount}.cache`, '--metrics', '127.0.0.1:0']
    const flags = ['--backup-meta', '0', '--heartbeat', '1', ...(options.mount ?? []), ...extra]
    const mounted = cli(['mount', '-d', '--no-syslog', ...places, ...flags, volume.metaUrl, mount])
    assert.equal(mounted.status, 0, mounted.stderr)
  }
  const remove = async (): Promise<void> => {
    for (const mount of mounts) spawnSync('umount', ['-l', mount], { stdio: 'ignore' })
    volume.remove()
    await engine?.close()
    await server.stop()
  }
  let engine: Engine | undefined
  try {
    engine = await openEngine(volume.metaUrl, { log: silentLog })
    for (let i = 0; i < count; i++) mountOne()
  } catch (error) {
    await remove()
    throw error
  }
  return {
    volume,
    server,
    engine,
    mounts,
    mountOne,
    mountAgain: mount => mountAt(mount, []),
    pid: mount => (JSON.parse(readFileSync(join(mount, '.config'), 'utf8')) as { Pid: number }).Pid,
    log: mount => readFileSync(logOf(mount), 'utf8'),
    remove,
  }
}

/** Waits until it is so, 15 seconds at most. */
export async function until(isSo: () => Promise<boolean> | boolean, what: string): Promise<void> {
  for (let i = 0; !(await isSo()); i++) {
    assert.ok(i < 150, what)
    await sleep(100)
  }
}
