/** Metadata clients of one volume over engines that are a round trip away. */

import { SystemClock } from '../../../src/base/clock.ts'
import { type Errno, errnoName, isErrno } from '../../../src/base/errno.ts'
import { silentLog } from '../../../src/base/log.ts'
import type { Maybe } from '../../../src/base/maybe.ts'
import type { MetaConfig } from '../../../src/meta/client/core.ts'
import { MetaClient } from '../../../src/meta/client.ts'
import { Driver } from '../../../src/meta/driver.ts'
import { MemoryEngine } from '../../../src/meta/engine/memory.ts'
import type { Caller } from '../../../src/meta/model/caller.ts'
import type { Format } from '../../../src/meta/model/format.ts'
import { initVolume } from '../../../src/meta/ops/init-volume.ts'
import { SlowEngine, type SlowOptions } from './slow-engine.ts'

export const CONFIG: MetaConfig = {
  readOnly: false,
  noBackgroundJobs: true,
  heartbeatMs: 0,
  skipDirMtimeNs: 1e8,
  atimeMode: 'noatime',
  openCacheLimit: 10_000,
  mountPoint: '/nowhere',
  version: '0.1.0',
}

/** The machine's clock, which can be set forward. */
export class TestClock extends SystemClock {
  aheadMs = 0

  override now() {
    const { sec, nsec } = super.now()
    return { sec: sec + Math.floor(this.aheadMs / 1000), nsec }
  }
  override monotonicMs(): number {
    return super.monotonicMs() + this.aheadMs
  }
}

export interface RemoteClient {
  readonly meta: MetaClient
  readonly engine: SlowEngine
}

/** A volume and those who have it mounted. */
export class SharedVolume {
  readonly inner = new MemoryEngine()
  readonly clock = new TestClock()
  readonly #clients: MetaClient[] = []

  static async create(setting: Partial<Format> = {}): Promise<SharedVolume> {
    const volume = new SharedVolume()
    await volume.configure(setting, true)
    return volume
  }

  /** What `format` and `config` do. */
  async configure(setting: Partial<Format>, isNew = false): Promise<void> {
    const json = JSON.stringify({
      Name: 'test',
      UUID: '00000000-0000-4000-8000-000000000000',
      Storage: 'mem',
      Bucket: 'mem',
      BlockSize: 4096,
      TrashDays: 0,
      MetaVersion: 1,
      DirStats: true,
      ...setting,
    })
    const trash = (setting.TrashDays ?? 0) > 0
    const driver = new Driver(this.inner, { random: Math.random, onEffect: () => undefined })
    await driver.run('change', () => initVolume(json, { isNew, trash, now: this.clock.now() }))
  }

  async client(
    options: {
      readonly config?: Partial<MetaConfig>
      readonly slow?: SlowOptions
      /** its own, where it differs from the others' */
      readonly clock?: TestClock
      readonly random?: () => number
    } = {},
  ): Promise<RemoteClient> {
    const engine = new SlowEngine(this.inner, options.slow)
    const meta = await MetaClient.open(engine, {
      config: { ...CONFIG, ...options.config },
      clock: options.clock ?? this.clock,
      log: silentLog,
      random: options.random ?? Math.random,
    })
    await meta.newSession()
    this.#clients.push(meta)
    return { meta, engine }
  }

  /** somebody whom the kernel has checked already */
  caller(): Caller {
    return { uid: 0, gid: 0, gids: [0], now: this.clock.now(), check: false }
  }

  async close(): Promise<void> {
    for (const client of this.#clients) await client.closeSession()
  }
}

/** The value of a success; a verdict of failure fails the test by its name. */
export async function ok<T>(result: Maybe<T | Errno>): Promise<Exclude<T, Errno>> {
  const value = await result
  if (isErrno(value)) throw new Error(`unexpected ${errnoName(value)}`)
  return value as Exclude<T, Errno>
}

export const FILE = { type: 1, mode: 0o644, umask: 0, rdev: 0, target: '' } as const
export const DIRECTORY = { ...FILE, type: 2, mode: 0o755 } as const

export const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))
