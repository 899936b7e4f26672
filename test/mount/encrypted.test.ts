/** Encryption, compression and sharding together on real mounts, and bandwidth limits that follow the setting. */

import assert from 'node:assert/strict'
import { createHash, createPrivateKey, generateKeyPairSync, randomBytes } from 'node:crypto'
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { shardOf } from '../../src/object/shards.ts'
import { cli, mountSkip, newVolume, type TestVolume } from './harness.ts'

const PASSPHRASE = 'a phrase of some words'
const WITH = { JFS_RSA_PASSPHRASE: PASSPHRASE }
const OPTIONS = ['--no-bgjob', '--heartbeat', '1s']

let dir: string
let keyFile: string
before(() => {
  dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-key-'))
  keyFile = join(dir, 'rsa.pem')
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const cipher = { cipher: 'aes-256-cbc', passphrase: PASSPHRASE }
  writeFileSync(keyFile, privateKey.export({ type: 'pkcs8', format: 'pem', ...cipher }))
})
after(() => rmSync(dir, { recursive: true, force: true }))

/** Every file below a directory, by its path in it. */
const filesBelow = (root: string): string[] =>
  readdirSync(root, { recursive: true, encoding: 'utf8' }).filter(path => statSync(join(root, path)).isFile())
const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')

describe('an encrypted volume', { skip: mountSkip }, () => {
  const TEXT = 'these words must not be found in any object'
  let volume: TestVolume
  const written: Record<string, string> = {}
  before(() => {
    volume = newVolume({
      name: 'vault',
      format: ['--encrypt-rsa-key', keyFile, '--encrypt-algo', 'chacha20-rsa', '--compress', 'zstd', '--block-size', '1M', '--shards', '3', '--bucket', join(dir, 'bucket%d')],
      env: WITH,
    }) // biome-ignore format: one command line
  })
  after(() => volume.remove())

  it('keeps its key in the setting, and no command shows it', () => {
    const shown = [cli(['status', volume.metaUrl]).stdout, cli(['config', volume.metaUrl]).stdout]
    for (const text of shown) {
      assert.match(text, /"EncryptKey": "removed"/)
      assert.match(text, /"EncryptAlgo": "chacha20-rsa"/)
      assert.match(text, /"KeyEncrypted": true/)
      assert.match(text, /"Shards": 3/)
      assert.ok(!text.includes('PRIVATE KEY'))
    }
  })

  it('gives back what was written, also to a mount with an empty cache', () => {
    volume.mount([...OPTIONS, '--cache-partial-only'])
    const file = (name: string, bytes: Buffer): void => {
      writeFileSync(join(volume.mountPoint, name), bytes)
      written[name] = digest(bytes)
    }
    file('text', Buffer.from(TEXT.repeat(50)))
    file('empty', Buffer.alloc(0))
    file('random', randomBytes((5 << 20) + 12_345))
    file('zeros', Buffer.alloc(3 << 20))
    for (let i = 0; i < 20; i++) file(`small${i}`, Buffer.from(`${i}: ${TEXT}`))
    assert.match(readFileSync(join(volume.mountPoint, '.config'), 'utf8'), /"EncryptKey": ?"removed"/)
    volume.unmount()
    rmSync(volume.cacheDir, { recursive: true, force: true })
    volume.mount(OPTIONS)
    for (const [name, sum] of Object.entries(written)) {
      assert.equal(digest(readFileSync(join(volume.mountPoint, name))), sum, name)
    }
    volume.unmount()
  })

  it('lies sealed in all its buckets, each object where its name says, and plain in the local cache', () => {
    let objects = 0
    for (const shard of [0, 1, 2]) {
      const bucket = join(dir, `bucket${shard}`)
      for (const key of filesBelow(bucket)) {
        assert.equal(shardOf(key, 3), shard, key)
        const envelope = readFileSync(join(bucket, key))
        assert.deepEqual([...envelope.subarray(0, 3)], [1, 0, 12], key)
        assert.ok(!envelope.includes('words must not'))
        objects++
      }
    }
    assert.ok(objects >= 31, `${objects} objects`)
    const [uuid] = ['bucket0', 'bucket1', 'bucket2']
      .map(bucket => join(dir, bucket, 'vault/juicefs_uuid'))
      .filter(existsSync)
    assert.equal(statSync(uuid!).size, 323)
    const cached = filesBelow(volume.cacheDir).map(path => readFileSync(join(volume.cacheDir, path)))
    assert.ok(cached.some(bytes => bytes.includes(TEXT)))
  })

  it('is named so where it is opened', () => {
    const ran = cli(['format', volume.metaUrl, 'vault', '--encrypt-algo', 'aes256gcm-rsa'], WITH)
    assert.equal(ran.status, 0, ran.stderr)
    assert.match(ran.stderr, /<INFO>: Data use shard3:\/\/.*bucket%d\/+vault\/\(encrypted\) /)
    assert.match(ran.stderr, /<WARNING>: Flag "encrypt-algo" is ignored since it cannot be updated/)
    assert.match(cli(['config', volume.metaUrl]).stdout, /"EncryptAlgo": "chacha20-rsa"/)
  })

  for (const [what, env, why] of [
    [
      'without a passphrase',
      { JFS_RSA_PASSPHRASE: '' },
      /passphrase is required to private key: please set the 'JFS_RSA_PASSPHRASE' environment variable/,
    ],
    [
      'with a wrong passphrase',
      { JFS_RSA_PASSPHRASE: 'other-words-7' },
      /object storage: the RSA key cannot be read: the passphrase in JFS_RSA_PASSPHRASE is wrong/,
    ],
  ] as const) {
    // biome-ignore format: a table
    it(`is not mounted ${what}, and leaves no session`, () => {
      const args = ['mount', '-d', '--no-syslog', '--log', volume.logFile, '--cache-dir', volume.cacheDir]
      const ran = cli([...args, volume.metaUrl, volume.mountPoint], env)
      assert.equal(ran.status, 1)
      assert.match(ran.stderr, why)
      assert.ok(!ran.stderr.includes('other-words-7'))
      assert.deepEqual(JSON.parse(cli(['-q', 'status', volume.metaUrl]).stdout).Sessions, [])
    })
  }

  it('answers EIO for a damaged object, and says in the log which', () => {
    const copies = [0, 1, 2].map(shard => join(dir, `bucket${shard}`))
    const path = copies
      .flatMap(bucket => filesBelow(bucket).map(key => join(bucket, key)))
      .find(name => name.endsWith('_0_2150'))
    assert.ok(path)
    const good = readFileSync(path)
    const bad = Buffer.from(good)
    bad[bad.length - 1]! ^= 1
    writeFileSync(path, bad)
    rmSync(volume.cacheDir, { recursive: true, force: true })
    volume.mount([...OPTIONS, '--io-retries', '1'])
    try {
      assert.throws(() => readFileSync(join(volume.mountPoint, 'text')), { code: 'EIO' })
      assert.match(readFileSync(volume.logFile, 'utf8'), /object chunks\/\S+: decryption error: the object is damaged/)
      writeFileSync(path, good)
      assert.equal(digest(readFileSync(join(volume.mountPoint, 'text'))), written.text)
    } finally {
      writeFileSync(path, good)
      volume.unmount()
    }
  })
})

describe('format refuses', () => {
  const formatWith = (env: Record<string, string>, ...flags: string[]) =>
    cli(['format', '--bucket', join(dir, 'never'), ...flags, `sqlite3://${join(dir, 'never.db')}`, 'myvol'], env)
  it('keys that are missing, locked or none, before anything is written', () => {
    const publicPem = join(dir, 'public.pem')
    const key = createPrivateKey({ key: readFileSync(keyFile, 'utf8'), passphrase: PASSPHRASE })
    const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 1024 })
    writeFileSync(publicPem, publicKey.export({ type: 'spki', format: 'pem' }))
    writeFileSync(join(dir, 'plain.pem'), key.export({ type: 'pkcs1', format: 'pem' }))
    for (const [flags, env, why] of [
      [
        ['--encrypt-rsa-key', 'nofile.pem'],
        {},
        /load RSA key from "nofile\.pem": open nofile\.pem: no such file or directory/,
      ],
      [
        ['--encrypt-rsa-key', keyFile],
        {},
        /object storage: passphrase is required to private key: please set the 'JFS_RSA_PASSPHRASE'/,
      ],
      [['--encrypt-rsa-key', keyFile], { JFS_RSA_PASSPHRASE: 'x' }, /the passphrase in JFS_RSA_PASSPHRASE is wrong/],
      [['--encrypt-rsa-key', publicPem], {}, /no private key in PEM form but a public key/],
      [['--encrypt-rsa-key', keyFile, '--encrypt-algo', 'rot13'], WITH, /unsupported encryption algorithm: "rot13"/],
      [['--encrypt-rsa-key', keyFile, '--encrypt-algo', 'sm4gcm'], WITH, /sm4gcm is not supported yet/],
      [['--shards', '3'], {}, /can not generate different endpoint using /],
      [['--shards', '300'], {}, /too many shards: 300/],
      [['--tag', 'nonsense'], {}, /Invalid tag: "nonsense" is not key=value/],
    ] as const) {
      // biome-ignore format: a table
      const ran = formatWith(env, ...flags)
      assert.equal(ran.status, 1, flags.join(' '))
      assert.match(ran.stderr, why)
    }
    assert.ok(!existsSync(join(dir, 'never.db')) && !existsSync(join(dir, 'never')))
  })
  it('nothing of a key without a passphrase, and takes a passphrase that is not needed', () => {
    const flags = ['--encrypt-rsa-key', join(dir, 'plain.pem'), '--bucket', join(dir, 'plainkey')]
    const ran = cli(['format', ...flags, `sqlite3://${join(dir, 'plainkey.db')}`, 'myvol'], {
      JFS_RSA_PASSPHRASE: 'unused',
    })
    assert.equal(ran.status, 0, ran.stderr)
    assert.match(ran.stderr, /"EncryptKey": "removed"/)
    assert.ok(!/PRIVATE KEY/.test(readFileSync(join(dir, 'plainkey.db'), 'latin1')))
  })
})

describe('a mount follows the setting', { skip: mountSkip }, () => {
  it('in its bandwidth limit, its own one winning, and in the place of its objects', async () => {
    const volume = newVolume({ format: ['--trash-days', '0'] })
    try {
      volume.mount(OPTIONS)
      const config = (...flags: string[]): void => {
        const ran = cli(['config', ...flags, volume.metaUrl])
        assert.equal(ran.status, 0, ran.stderr)
      }
      const timed = (name: string): number => {
        const start = performance.now()
        writeFileSync(join(volume.mountPoint, name), randomBytes(2 << 20), { flush: true })
        return performance.now() - start
      }
      const followed = async (words: RegExp): Promise<void> => {
        for (let i = 0; i < 60 && !words.test(readFileSync(volume.logFile, 'utf8')); i++) await sleep(100)
        assert.match(readFileSync(volume.logFile, 'utf8'), words)
      }
      config('--upload-limit', '16') // 1.7 MB/s of payload
      await followed(/found new configuration/)
      const ms = timed('slow')
      // 2 MiB, less the burst of 0.2 MB
      assert.ok(ms > 1000 && ms < 3000, `2 MiB at 1.7 MB/s took ${ms} ms`)
      config('--upload-limit', '0')
      await sleep(1500)
      assert.ok(timed('fast') < 1000)

      const moved = join(volume.dir, 'moved')
      cpSync(volume.bucket, moved, { recursive: true })
      rmSync(volume.bucket, { recursive: true })
      config('--bucket', moved)
      await followed(/Data use file:\/\/.*\/moved\/test-volume\//)
      timed('elsewhere')
      assert.ok(!existsSync(volume.bucket))
      volume.unmount()
      rmSync(volume.cacheDir, { recursive: true, force: true })
      volume.mount([...OPTIONS, '--download-limit', '40'])
      const start = performance.now()
      assert.equal(readFileSync(join(volume.mountPoint, 'elsewhere')).length, 2 << 20)
      assert.ok(performance.now() - start > 200, 'a download limit of 4.25 MB/s')
      const { Chunk } = JSON.parse(readFileSync(join(volume.mountPoint, '.config'), 'utf8')) as {
        Chunk: Record<string, number>
      }
      assert.equal(Chunk.DownloadLimit, 5_000_000)
      assert.equal(Chunk.UploadLimit, 0)
      volume.unmount()
    } finally {
      volume.remove()
    }
  })

  it('and its storage class, which local files do not have', () => {
    const volume = newVolume({ format: ['--storage-class', 'IA', '--tag', 'team=storage'] })
    try {
      const { Tiers, StorageClass } = JSON.parse(cli(['-q', 'config', volume.metaUrl]).stdout) as Record<
        string,
        unknown
      >
      assert.deepEqual(Tiers, { 0: { ID: 0, StorageClass: 'IA', Tag: 'team=storage' } })
      assert.equal(StorageClass, 'IA')
      const asked = cli(['config', '--yes', '--storage-class', 'COLD', '--tag', 'team=other', volume.metaUrl])
      assert.equal(asked.status, 0, asked.stderr)
      assert.match(
        asked.stdout,
        /existing tier will be overwritten: storage-class IA, tag team=storage -> storage-class COLD, tag team=other/,
      )
      assert.match(asked.stdout, /\nset tier 0 storage-class: COLD\nset tier 0 tag: team=other\n$/)
      volume.mount([...OPTIONS, '--storage-class', 'OWN'])
      writeFileSync(join(volume.mountPoint, 'f'), 'x')
      assert.match(readFileSync(volume.logFile, 'utf8'), /<WARNING>: Set storage tier: not supported by storage file/)
      volume.unmount()
    } finally {
      volume.remove()
    }
  })
})
