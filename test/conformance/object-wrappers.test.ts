/** Every wrapper is a store like any other, alone and all together. */

import { generateKeyPairSync } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SystemClock } from '../../src/base/clock.ts'
import { MemStore } from '../../src/object/mem.ts'
import { openStore, type StorageSetting } from '../../src/object/open.ts'
import { SwappableStore } from '../../src/object/swappable.ts'
import { objectSuite } from './object-suite.ts'

const pem = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ type: 'pkcs8', format: 'pem' })
const encryption = (algorithm: string) => ({ algorithm, pem: pem as string, passphrase: undefined })
/** of a key of 2048 bits */
const overheadBytes = 287

function onMemory(setting: Partial<StorageSetting>) {
  return async () => ({
    store: await openStore({ storage: 'mem', bucket: 'trial', name: 'vol', ...setting }),
    cleanUp: async () => {},
  })
}

objectSuite('mem, encrypted by AES', onMemory({ encryption: encryption('aes256gcm-rsa') }), { overheadBytes })
objectSuite('mem, encrypted by ChaCha20', onMemory({ encryption: encryption('chacha20-rsa') }), { overheadBytes })
objectSuite('mem in 5 shards', onMemory({ bucket: 'trial%d', shards: 5 }))
objectSuite('mem that can be replaced', async () => ({
  store: new SwappableStore(new MemStore('trial', new SystemClock()), () => {}),
  cleanUp: async () => {},
}))

objectSuite(
  'files in 3 shards, encrypted, that can be replaced',
  async () => {
    const dir = await mkdtemp(join(tmpdir(), 'object-wrappers-'))
    const store = await openStore({
      storage: 'file',
      bucket: `${dir}/%02d/`,
      name: 'vol',
      shards: 3,
      encryption: encryption('aes256gcm-rsa'),
    })
    await store.create()
    return { store: new SwappableStore(store, () => {}), cleanUp: () => rm(dir, { recursive: true }) }
  },
  { overheadBytes },
)
