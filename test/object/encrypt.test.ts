import assert from 'node:assert/strict'
import {
  constants,
  createDecipheriv,
  createPrivateKey,
  generateKeyPairSync,
  privateDecrypt,
  randomBytes,
} from 'node:crypto'
import { after, describe, it, mock } from 'node:test'
import { Worker } from 'node:worker_threads'
import { SystemClock } from '../../src/base/clock.ts'
import { Fault } from '../../src/base/fault.ts'
import type { Maybe } from '../../src/base/maybe.ts'
import { drop, own } from '../../src/base/own-memory.ts'
import { withEncryption } from '../../src/object/encrypt.ts'
import { envelopeBytes, headBytes, seal, unseal } from '../../src/object/envelope.ts'
import { EnvelopeThreads } from '../../src/object/envelope-threads.ts'
import { MemStore } from '../../src/object/mem.ts'
import { readRsaKey } from '../../src/object/rsa-key.ts'
import { ObjectMissing, type ObjectStore } from '../../src/object/store.ts'

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
const otherPem = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ type: 'pkcs1', format: 'pem' })

/** 2 + 1 + 256 + 12 + 16 */
const OVERHEAD = 287
const SIZES = [0, 1, 42, 4096, 65_536, 65_537, (4 << 20) - 1, 4 << 20]

const opened: ObjectStore[] = []
after(() => Promise.all(opened.map(store => store.close())))
function encrypted(algorithm: string | undefined, under: ObjectStore = mem(), key: string = pem): ObjectStore {
  const store = withEncryption(under, { algorithm, pem: key, passphrase: undefined })
  opened.push(store)
  return store
}
const mem = (): MemStore => new MemStore('trial', new SystemClock())

/** Field by field as the page of the format draws it, by none of our code. */
function decodeByHand(envelope: Buffer, aead: 'aes-256-gcm' | 'chacha20-poly1305'): Buffer {
  assert.deepEqual([...envelope.subarray(0, 3)], [0x01, 0x00, 0x0c])
  const dataKey = privateDecrypt(
    {
      key: createPrivateKey(pem),
      padding: constants.RSA_PKCS1_OAEP_PADDING,
      oaepHash: 'sha256',
      oaepLabel: Buffer.from('keys'),
    },
    envelope.subarray(3, 259),
  )
  assert.equal(dataKey.length, 32)
  const decipher = createDecipheriv(aead as 'aes-256-gcm', dataKey, envelope.subarray(259, 271), { authTagLength: 16 })
  decipher.setAuthTag(envelope.subarray(envelope.length - 16))
  return Buffer.concat([decipher.update(envelope.subarray(271, envelope.length - 16)), decipher.final()])
}

describe('an encrypted store', () => {
  for (const [algorithm, aead] of [
    ['aes256gcm-rsa', 'aes-256-gcm'],
    ['', 'aes-256-gcm'],
    ['chacha20-rsa', 'chacha20-poly1305'],
  ] as const) {
    it(`keeps envelopes of ${algorithm || 'the default algorithm'} that decode by the page of the format`, async () => {
      const under = mem()
      const store = encrypted(algorithm, under)
      for (const size of SIZES) {
        const plain = randomBytes(size)
        await store.put(`k${size}`, plain)
        const envelope = await under.get(`k${size}`)
        assert.equal(envelope.length, size + OVERHEAD)
        assert.ok(decodeByHand(envelope, aead).equals(plain), `${size} bytes`)
        assert.ok((await store.get(`k${size}`)).equals(plain), `${size} bytes`)
      }
    })
  }

  it('takes a fresh data key and nonce for each object', async () => {
    const under = mem()
    const store = encrypted('aes256gcm-rsa', under)
    const plain = Buffer.alloc(100_000)
    await store.put('a', plain)
    await store.put('b', plain)
    const [a, b] = [await under.get('a'), await under.get('b')]
    assert.ok(!a.subarray(3, 259).equals(b.subarray(3, 259)))
    assert.ok(!a.subarray(259, 271).equals(b.subarray(259, 271)))
    assert.ok(!a.subarray(271).equals(b.subarray(271)))
  })

  it('says so in its description, and offers no range reads, though a range is cut out of the whole', async () => {
    const store = encrypted('aes256gcm-rsa')
    assert.equal(store.description, 'mem://trial/(encrypted)')
    assert.equal(store.limits.rangeReads, false)
    await store.put('k', Buffer.from('0123456789'))
    assert.equal((await store.get('k', { offset: 4, length: 3 })).toString(), '456')
    assert.equal((await store.get('k', { offset: 8, length: 9 })).toString(), '89')
  })

  it('tells the sizes of the envelopes in head and list', async () => {
    const store = encrypted('aes256gcm-rsa')
    await store.put('juicefs_uuid', Buffer.alloc(36, 'u'))
    assert.equal((await store.head('juicefs_uuid'))?.size, 323)
    assert.deepEqual(
      (await store.list('', '', 10)).map(({ size }) => size),
      [323],
    )
  })

  it('refuses each damaged byte, and what was never encrypted, naming the object', async () => {
    const under = mem()
    const store = encrypted('aes256gcm-rsa', under)
    for (const size of [42, 100_000]) {
      await store.put('k', randomBytes(size))
      const whole = Buffer.from(await under.get('k'))
      for (const at of [0, 1, 2, 3, 150, 258, 259, 270, 271, whole.length - 17, whole.length - 16, whole.length - 1]) {
        const damaged = Buffer.from(whole)
        damaged[at]! ^= 0x01
        await under.put('k', damaged)
        await assert.rejects(store.get('k'), (error: unknown) => {
          return error instanceof Fault && /^object k: decrypt/.test(error.message)
        })
      }
      for (const cut of [0, 1, 2, 3, 100, 271, 286, whole.length - 1]) {
        await under.put('k', whole.subarray(0, cut))
        await assert.rejects(store.get('k'), /^Fault: object k: decrypt/)
      }
    }
    await under.put('plain', Buffer.alloc(5000))
    await assert.rejects(store.get('plain'), /never encrypted/)
  })

  it('refuses what another key has sealed', async () => {
    const under = mem()
    await encrypted('aes256gcm-rsa', under, otherPem as string).put('k', randomBytes(99))
    await assert.rejects(encrypted('aes256gcm-rsa', under).get('k'), /sealed with another key/)
  })

  it('passes on that an object is missing', async () => {
    await assert.rejects(encrypted('').get('none'), ObjectMissing)
  })

  it('refuses algorithms that are unknown or not built', () => {
    assert.throws(() => encrypted('rot13'), /unsupported encryption algorithm: "rot13"/)
    assert.throws(() => encrypted('sm4gcm'), /sm4gcm is not supported yet/)
  })
})

describe('threads that encrypt', () => {
  const key = { ...readRsaKey(pem, undefined), cipher: 'aes-256-gcm' } as const

  it('do many jobs at once, each with its own bytes, in few threads and little memory', async () => {
    const threads = new EnvelopeThreads(key, 2)
    try {
      const bodies = Array.from({ length: 24 }, (_, i) => Buffer.alloc(300_000 + i * 1000, i))
      const sealed = await Promise.all(bodies.map(body => threads.seal(body)))
      assert.equal(threads.threadCount, 2)
      const plain = await Promise.all(sealed.map(({ envelope }) => threads.unseal(envelope)))
      assert.ok(bodies.every((body, i) => body.equals(plain[i]!)))
      for (const { release } of sealed) release()
      assert.ok(threads.idleBytes <= 4 * 400_000, `${threads.idleBytes} bytes are kept`)
    } finally {
      await threads.close()
    }
  })

  it('copy what they shall do when one of them takes it, since many may wait', async () => {
    const threads = new EnvelopeThreads(key, 1)
    try {
      const { envelope } = await threads.seal(Buffer.alloc(1 << 20, 'a'))
      const works: (() => Maybe<unknown>)[] = [() => threads.seal(envelope), () => threads.unseal(envelope)]
      for (const work of works) {
        const before = process.memoryUsage().arrayBuffers
        const jobs = Array.from({ length: 32 }, work)
        const moreMiB = (process.memoryUsage().arrayBuffers - before) / 2 ** 20
        assert.ok(moreMiB < 4, `${moreMiB} MiB for one thread`)
        await Promise.all(jobs)
      }
    } finally {
      await threads.close()
    }
  })

  it('open where it is what has an owner, and the plain bytes have one; any other is left as it was', async () => {
    const threads = new EnvelopeThreads(key, 1)
    try {
      const plain = randomBytes(1 << 20)
      const { envelope } = await threads.seal(plain)
      const copy = Buffer.from(envelope)
      assert.ok((await threads.unseal(envelope)).equals(plain))
      assert.ok(envelope.equals(copy))
      const owned = own(copy)
      const opened = await threads.unseal(owned)
      assert.equal(owned.length, 0)
      assert.ok(opened.equals(plain))
      drop(opened)
      assert.equal(opened.length, 0)
    } finally {
      await threads.close()
    }
  })

  it('leave nothing of a job to the collector', () => {
    for (const cipher of ['aes-256-gcm', 'chacha20-poly1305'] as const) {
      const each = { ...key, cipher }
      const envelope = Buffer.allocUnsafeSlow(envelopeBytes(each, 4 << 20)).fill('a', headBytes(each))
      const before = process.memoryUsage().arrayBuffers
      for (let i = 0; i < 16; i++) {
        seal(each, envelope)
        const plain = unseal(each, envelope)
        assert.ok(plain[0] === 97 && plain[plain.length - 1] === 97)
      }
      const moreMiB = (process.memoryUsage().arrayBuffers - before) / 2 ** 20
      assert.ok(moreMiB < 2, `${moreMiB} MiB after 16 blocks of ${cipher}`)
    }
  })

  it('are not started for small objects', async () => {
    const threads = new EnvelopeThreads(key, 2)
    const sealed = await threads.seal(Buffer.alloc(3000))
    await threads.unseal(sealed.envelope)
    assert.equal(threads.threadCount, 0)
    await threads.close()
  })

  it('that die fail their jobs, and the next job is done by another', async () => {
    const threads = new EnvelopeThreads(key, 1)
    try {
      const body = Buffer.alloc(1 << 20, 'x')
      const dying = mock.method(Worker.prototype, 'postMessage', function (this: Worker) {
        this.emit('error', new Error('out of memory'))
      })
      await assert.rejects(Promise.resolve(threads.seal(body)), /^Fault: encryption: out of memory$/)
      dying.mock.restore()
      assert.equal(threads.threadCount, 0)
      const { envelope } = await threads.seal(body)
      assert.ok((await threads.unseal(envelope)).equals(body))
    } finally {
      await threads.close()
    }
  })

  it('refuse what is left when they are closed', async () => {
    const threads = new EnvelopeThreads(key, 1)
    const jobs = Array.from({ length: 8 }, () => Promise.resolve(threads.seal(Buffer.alloc(1 << 20))))
    const settled = Promise.allSettled(jobs)
    await threads.close()
    assert.ok((await settled).some(({ status }) => status === 'rejected'))
    await assert.rejects(Promise.resolve(threads.seal(Buffer.alloc(1 << 20))), /the store is closed/)
  })
})

describe('the RSA key', () => {
  const passphrase = 'secret words'
  const pkcs8 = privateKey.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase }) as string
  const pkcs1 = privateKey.export({ type: 'pkcs1', format: 'pem', cipher: 'aes-128-cbc', passphrase }) as string
  const plain1 = privateKey.export({ type: 'pkcs1', format: 'pem' }) as string

  it('is read in every form: PKCS#1 and PKCS#8, plain and encrypted', () => {
    assert.match(pkcs1, /Proc-Type: 4,ENCRYPTED/)
    for (const text of [pem, plain1, pkcs8, pkcs1]) {
      const key = readRsaKey(text, passphrase)
      assert.ok(key.privateKey.equals(privateKey))
      assert.equal(key.bytes, 256)
    }
    assert.ok(readRsaKey(plain1, undefined).privateKey.equals(privateKey))
  })
  it('that is encrypted asks for its passphrase by the name of the variable', () => {
    for (const text of [pkcs8, pkcs1]) {
      assert.throws(() => readRsaKey(text, undefined), {
        message: "passphrase is required to private key: please set the 'JFS_RSA_PASSPHRASE' environment variable",
      })
      assert.throws(() => readRsaKey(text, ''), /passphrase is required/)
    }
  })
  it('says that a passphrase is wrong without showing it', () => {
    for (const text of [pkcs8, pkcs1]) {
      assert.throws(
        () => readRsaKey(text, 'wrong words'),
        (error: unknown) =>
          error instanceof Fault &&
          /the passphrase in JFS_RSA_PASSPHRASE is wrong/.test(error.message) &&
          !error.message.includes('wrong words'),
      )
    }
  })
  it('locked by a cipher that OpenSSL has put away says so, and does not blame the passphrase', () => {
    const old = pkcs1.replace(/^DEK-Info: .*$/m, 'DEK-Info: DES-CBC,0011223344556677')
    assert.throws(() => readRsaKey(old, passphrase), /is locked by DES-CBC, which is not supported/)
  })
  it('is refused where it is none: text, a public key, another kind of key, a damaged one', () => {
    const publicPem = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export({
      type: 'spki',
      format: 'pem',
    })
    const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' })
    assert.throws(() => readRsaKey('hello', undefined), /no private key in PEM form$/)
    assert.throws(() => readRsaKey(publicPem as string, undefined), /no private key in PEM form but a public key/)
    assert.throws(() => readRsaKey(ec as string, undefined), /of type ec are not supported, only RSA/)
    assert.throws(() => readRsaKey(pem.slice(0, 500), undefined), /cannot be read|no private key/)
    const lines = plain1.split('\n')
    lines.splice(3, 1)
    assert.throws(() => readRsaKey(lines.join('\n'), undefined), /cannot be read/)
  })
})
