/** Volumes without a mount: a setting in a database, and clients of its metadata. */

import { SystemClock } from '../../src/base/clock.ts'
import { isErrno } from '../../src/base/errno.ts'
import { ROOT_INO } from '../../src/base/ino.ts'
import { silentLog } from '../../src/base/log.ts'
import { openEngine } from '../../src/cmd/volume.ts'
import type { MetaConfig } from '../../src/meta/client.ts'
import { Driver } from '../../src/meta/driver.ts'
import { initVolume } from '../../src/meta/ops/init-volume.ts'

/** Makes the tables and an empty volume; `setting` beside what every volume has. */
export async function formatVolume(url: string, setting: Readonly<Record<string, unknown>> = {}): Promise<void> {
  const engine = await openEngine(url, { log: silentLog })
  try {
    await engine.prepare()
    const json = JSON.stringify({
      ...{ Name: 'test', UUID: '11111111-2222-3333-4444-555555555555', Storage: 'file', Bucket: '/nowhere' },
      ...{ BlockSize: 4096, TrashDays: 1, DirStats: true, MetaVersion: 1 },
      ...setting,
    })
    const driver = new Driver(engine, { random: Math.random, onEffect: () => undefined })
    const made = await driver.run('change', () =>
      initVolume(json, { isNew: true, trash: true, now: new SystemClock().now() }),
    )
    if (isErrno(made)) throw new Error(`format: errno ${made}`)
    await engine.commit([], [{ kind: 'newDirUsage', ino: ROOT_INO }])
  } finally {
    await engine.close()
  }
}

/** Of a client that does nothing unasked. */
export const clientConfig = (changed: Partial<MetaConfig> = {}): MetaConfig => ({
  readOnly: false,
  noBackgroundJobs: true,
  heartbeatMs: 0,
  skipDirMtimeNs: 1e8,
  atimeMode: 'noatime',
  openCacheLimit: 10_000,
  mountPoint: '',
  version: '0.0.0',
  ...changed,
})
