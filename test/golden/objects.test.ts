/** Volumes written by JuiceFS: every slice's objects are where we look for them, and every file's bytes are read back. */

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import Database from 'better-sqlite3'
import { SystemClock } from '../../src/base/clock.ts'
import { silentLog } from '../../src/base/log.ts'
import { Metrics } from '../../src/base/metrics.ts'
import type { ChunkStore } from '../../src/chunk/chunk-store.ts'
import type { Compression } from '../../src/chunk/codec.ts'
import { openChunks } from '../../src/chunk/store.ts'
import { parseFormat } from '../../src/meta/model/format.ts'
import { decryptSecrets } from '../../src/meta/model/secrets.ts'
import { buildView, CHUNK_BYTES, decodeRecords } from '../../src/meta/model/slice.ts'
import { openStore } from '../../src/object/open.ts'
import type { ObjectStore } from '../../src/object/store.ts'
import { noCache } from '../chunk/harness.ts'
import { goldenSkip, PASSPHRASE, unpackGolden } from './volumes.ts'

const VOLUMES = ['sqlite-plain', 'sqlite-lz4-hash', 'sqlite-zstd-rsa', 'sqlite-chacha']

interface ChunkRow {
  readonly inode: number
  readonly indx: number
  readonly slices: Buffer
}

interface GoldenVolume {
  readonly store: ObjectStore
  readonly chunks: ChunkStore
  readonly rows: readonly ChunkRow[]
  readonly lengths: ReadonlyMap<number, number>
}

async function openGolden(volume: string): Promise<GoldenVolume> {
  const db = new Database(join(volume, 'volume.db'), { readonly: true })
  const { value } = db.prepare("SELECT value FROM jfs_setting WHERE name = 'format'").get() as { value: string }
  const setting = decryptSecrets(parseFormat(value))
  // JuiceFS appends with `||`, which makes the bytes a TEXT value: without the cast they come back as broken UTF-8
  const rows = db.prepare('SELECT inode, indx, CAST(slices AS BLOB) AS slices FROM jfs_chunk').all() as ChunkRow[]
  const nodes = db.prepare('SELECT inode, length FROM jfs_node WHERE type = 1').all() as {
    inode: number
    length: number
  }[]
  db.close()
  const encryption = setting.EncryptKey
    ? { algorithm: setting.EncryptAlgo, pem: setting.EncryptKey, passphrase: PASSPHRASE }
    : undefined
  const bucket = join(volume, 'objects/')
  const store = await openStore({ storage: 'file', bucket, name: setting.Name, encryption })
  const chunks = await openChunks({
    store,
    blockBytes: setting.BlockSize * 1024,
    compression: setting.Compression as Compression,
    hashPrefix: setting.HashPrefix ?? false,
    bufferBytes: 64 << 20,
    maxUploads: 1,
    maxDownloads: 8,
    getTimeoutMs: 10_000,
    putTimeoutMs: 10_000,
    ioRetries: 0,
    cache: noCache,
    prefetch: 0,
    clock: new SystemClock(),
    random: Math.random,
    log: silentLog,
    metrics: new Metrics(),
  })
  return { store, chunks, rows, lengths: new Map(nodes.map(({ inode, length }) => [inode, length])) }
}

describe('objects of golden volumes', { skip: goldenSkip }, () => {
  let dir: string
  before(() => {
    dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-golden-objects-'))
    unpackGolden(dir, ...VOLUMES)
  })
  after(() => rmSync(dir, { recursive: true, force: true }))

  for (const name of VOLUMES) {
    it(`${name}: every block of every slice has its object under the key that we compute`, async () => {
      const { store, chunks, rows } = await openGolden(join(dir, name))
      const expected = new Set<string>()
      for (const row of rows) {
        for (const slice of decodeRecords(row.slices)) {
          if (slice.id > 0) for (const { key } of chunks.keys(slice)) expected.add(key)
        }
      }
      const found = new Set((await store.list('chunks/', '', 10_000)).map(info => info.key))
      assert.ok(expected.size > 100)
      assert.deepEqual(
        [...expected].filter(key => !found.has(key)),
        [],
      )
      await chunks.close()
      await store.close()
    })
  }

  for (const name of VOLUMES) {
    it(`${name}: the bytes of every file have the digest that JuiceFS's mount had`, async () => {
      const { store, chunks, rows, lengths } = await openGolden(join(dir, name))
      const byInode = new Map<number, ChunkRow[]>()
      for (const row of rows) byInode.set(row.inode, [...(byInode.get(row.inode) ?? []), row])
      const digests = new Set<string>()
      for (const [inode, length] of lengths) digests.add(await digestOf(chunks, byInode.get(inode) ?? [], length))
      const tree = JSON.parse(readFileSync(join(dir, name, 'tree.json'), 'utf8')) as Record<string, { sha256?: string }>
      const files = Object.entries(tree).filter(([, { sha256 }]) => sha256 !== undefined)
      assert.ok(files.length > 5)
      assert.deepEqual(
        files.filter(([, { sha256 }]) => !digests.has(sha256!)),
        [],
      )
      await chunks.close()
      await store.close()
    })
  }
})

async function digestOf(chunks: ChunkStore, rows: readonly ChunkRow[], length: number): Promise<string> {
  const hash = createHash('sha256')
  for (let index = 0; index * CHUNK_BYTES < length; index++) {
    const bytes = Buffer.alloc(Math.min(CHUNK_BYTES, length - index * CHUNK_BYTES))
    const row = rows.find(({ indx }) => indx === index)
    for (const segment of buildView(decodeRecords(row?.slices ?? Buffer.alloc(0)))) {
      const count = Math.min(segment.len, bytes.length - segment.pos)
      if (segment.id === 0 || count <= 0) continue
      Buffer.concat(await chunks.read(segment, segment.off, count)).copy(bytes, segment.pos)
    }
    hash.update(bytes)
  }
  return hash.digest('hex')
}
