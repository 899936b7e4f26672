/** A store that keeps everything in envelopes (spec data-objects section 2.2). It is the outermost wrapper: what is below sees only
 *  encrypted bytes, sizes and times of head and list are those of the envelopes, and an object can only be fetched as a whole. */

import { cipherOf, envelopeBytes } from './envelope.ts'
import { EnvelopeThreads } from './envelope-threads.ts'
import { readRsaKey } from './rsa-key.ts'
import { type ObjectStore, Undecryptable } from './store.ts'

export interface EncryptionSetting {
  /** `EncryptAlgo`; empty: the default */
  readonly algorithm: string | undefined
  /** `EncryptKey`, in plain */
  readonly pem: string
  /** of the PEM, where it is encrypted */
  readonly passphrase: string | undefined
}

/** Throws a Fault where the algorithm is unknown or the key cannot be read with this passphrase; does no I/O. */
export function withEncryption(store: ObjectStore, setting: EncryptionSetting): ObjectStore {
  const key = { ...readRsaKey(setting.pem, setting.passphrase), cipher: cipherOf(setting.algorithm) }
  const threads = new EnvelopeThreads(key)
  const wrapped: ObjectStore = {
    description: `${store.description}(encrypted)`,
    limits: { ...store.limits, rangeReads: false, copiesBodies: true },
    async get(name, range, expectedBytes) {
      // The length of a part says nothing about that of the object.
      const expected = expectedBytes === undefined ? undefined : envelopeBytes(key, expectedBytes)
      const plain = await unsealed(name, await store.get(name, undefined, expected))
      return range ? plain.subarray(range.offset, range.offset + range.length) : plain
    },
    async put(name, body) {
      const { envelope, release } = await threads.seal(body)
      try {
        await store.put(name, envelope)
      } finally {
        release()
      }
    },
    delete: name => store.delete(name),
    head: name => store.head(name),
    list: (prefix, marker, limit) => store.list(prefix, marker, limit),
    create: () => store.create(),
    async close() {
      await threads.close()
      await store.close()
    },
  }
  const sync = store.sync?.bind(store)
  if (sync) wrapped.sync = sync
  return wrapped

  async function unsealed(name: string, envelope: Buffer): Promise<Buffer> {
    try {
      return await threads.unseal(envelope)
    } catch (error) {
      throw new Undecryptable(`object ${name}`, { cause: error })
    }
  }
}
