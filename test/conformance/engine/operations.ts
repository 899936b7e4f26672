/** The operations, driven over the engine: what many clients do at once adds up. */

import assert from 'node:assert/strict'
import { EEXIST, ENOTEMPTY, isErrno } from '../../../src/base/errno.ts'
import { type Ino, NO_INO, ROOT_INO, TRASH_INO } from '../../../src/base/ino.ts'
import { checkVolume } from '../../../src/meta/check.ts'
import { Driver } from '../../../src/meta/driver.ts'
import type { Change, Operation } from '../../../src/meta/facts.ts'
import type { Caller } from '../../../src/meta/model/caller.ts'
import { buildView, CHUNK_BYTES, decodeRecords, encodeRecords } from '../../../src/meta/model/slice.ts'
import { fallocate } from '../../../src/meta/ops/fallocate.ts'
import { link } from '../../../src/meta/ops/link.ts'
import { lookup } from '../../../src/meta/ops/lookup.ts'
import { make } from '../../../src/meta/ops/make.ts'
import { rename } from '../../../src/meta/ops/rename.ts'
import { rmdir } from '../../../src/meta/ops/rmdir.ts'
import { truncate } from '../../../src/meta/ops/truncate.ts'
import { unlink } from '../../../src/meta/ops/unlink.ts'
import { writeSlice } from '../../../src/meta/ops/write-slice.ts'
import { CHUNKS_AT_ONCE } from '../../../src/meta/rules/chunks.ts'
import { type Bench, type Claim, directory, inoOf, NO_QUOTAS, volumeWith } from './harness.ts'

const now = { sec: 1_795_245_442, nsec: 123_456_789 }
const caller: Caller = { uid: 0, gid: 0, gids: [0], now, check: true }
const volume = volumeWith({ limits: { ...NO_QUOTAS, userGroup: true } })
const forReal = { trash: NO_INO, isOpen: () => false, sid: 1 }
const node = (type: number) => ({ type, mode: 0o755, umask: 0, rdev: 0, target: 'x' })

class Client {
  readonly #driver: Driver
  readonly #bench: Bench
  conflicts = 0
  /** changes of the largest commit */
  largest = 0

  constructor(bench: Bench) {
    this.#bench = bench
    this.#driver = new Driver(bench.engine, {
      random: () => 0.5,
      onEffect: () => undefined,
      onConflict: () => this.conflicts++,
      onCommit: changes => {
        this.largest = Math.max(this.largest, changes.length)
      },
    })
  }

  async run<T>(operation: () => Operation<T>) {
    return await this.#driver.run('change', operation)
  }

  async done<T>(operation: () => Operation<T>): Promise<T> {
    const result = await this.run(operation)
    assert.ok(!isErrno(result), `errno ${String(result)}`)
    return result
  }

  async make(parent: Ino, name: string, type: number) {
    // A range may begin at 1, which is the root.
    const ino = inoOf(Math.max(2, await this.#bench.engine.allocate('nextInode', 1024)))
    return await this.run(() => make(volume, caller, parent, name, ino, node(type), { orExisting: false }))
  }

  async made(parent: Ino, name: string, type: number): Promise<Ino> {
    const entry = await this.make(parent, name, type)
    assert.ok(!isErrno(entry), `errno ${String(entry)}`)
    return entry.ino
  }

  async writeAt(ino: Ino, pos: number, len: number) {
    const id = await this.#bench.engine.allocate('nextChunk', 4096)
    return await this.run(() => writeSlice(volume, now, ino, 0, pos, { id, size: len, off: 0, len }, now))
  }
}

async function start(bench: Bench): Promise<Client> {
  await bench.write(
    { kind: 'newDirUsage', ino: ROOT_INO },
    { kind: 'putNode', ino: TRASH_INO, attr: directory({ mode: 0o555 }) },
    { kind: 'putSession', sid: 1, expire: 2 ** 31, info: Buffer.from('{}') },
  )
  return new Client(bench)
}

/** A file with data in so many whole chunks, without a hole, also behind its end. */
async function longFile(bench: Bench, client: Client, chunks: number, length = chunks * CHUNK_BYTES): Promise<Ino> {
  const ino = await client.made(ROOT_INO, 'long', 1)
  const id = await bench.engine.allocate('nextChunk', 1)
  const records = encodeRecords([{ pos: 0, id, size: CHUNK_BYTES, off: 0, len: CHUNK_BYTES }])
  await bench.write({ kind: 'newSlice', id, size: CHUNK_BYTES, refs: chunks })
  for (let from = 0; from < chunks; from += 100) {
    const batch = Array.from({ length: Math.min(100, chunks - from) }, (_, i) => from + i)
    await bench.write(...batch.map((index): Change => ({ kind: 'appendSlices', ino, index, records })))
  }
  await client.done(() => fallocate(volume, caller, ino, 0, 0, length))
  return ino
}

/** First byte that is no data any more, and bytes of data behind it. */
async function dataOf(bench: Bench, ino: Ino): Promise<{ end: number; behind: number }> {
  let end = Number.POSITIVE_INFINITY
  let behind = 0
  for (const { index, records } of await bench.scan('chunks', { ino }, 1000)) {
    for (const segment of buildView(decodeRecords(records))) {
      const at = index * CHUNK_BYTES + segment.pos
      if (segment.id === 0) end = Math.min(end, at)
      else if (at >= end) behind += segment.len
    }
  }
  return { end, behind }
}

export function operationClaims(claim: Claim): void {
  claim('many creations in one directory at once all succeed, and its link count and usage are right', async bench => {
    const client = await start(bench)
    const types = Array.from({ length: 60 }, (_, i) => 1 + (i % 4))
    const made = await Promise.all(types.map((type, i) => client.make(ROOT_INO, `n${i}`, type)))
    assert.ok(made.every(entry => !isErrno(entry)))
    assert.deepEqual(await checkVolume(bench.engine), [])
  })

  claim('of many that create one name, one creates it', async bench => {
    const client = await start(bench)
    const made = await Promise.all(Array.from({ length: 10 }, () => client.make(ROOT_INO, 'same', 1)))
    assert.equal(made.filter(entry => !isErrno(entry)).length, 1)
    assert.ok(made.every(entry => !isErrno(entry) || entry === EEXIST))
    assert.deepEqual(await checkVolume(bench.engine), [])
  })

  claim('a directory that is being filled is not removed under its entries', async bench => {
    const client = await start(bench)
    for (let round = 0; round < 10; round++) {
      const dir = await client.made(ROOT_INO, `d${round}`, 2)
      const [file, removed] = await Promise.all([
        client.make(dir, 'f', 1),
        client.run(() => rmdir(volume, caller, ROOT_INO, `d${round}`, forReal)),
      ])
      if (isErrno(removed)) assert.equal(removed, ENOTEMPTY)
      assert.notEqual(isErrno(file), isErrno(removed), 'exactly one of the two succeeds')
    }
    assert.deepEqual(await checkVolume(bench.engine), [])
  })

  claim('a file grows to its furthest end when many write it at once', async bench => {
    const client = await start(bench)
    const ino = await client.made(ROOT_INO, 'f', 1)
    const written = await Promise.all(Array.from({ length: 20 }, (_, i) => client.writeAt(ino, i * 5000, 5000)))
    assert.ok(written.every(result => !isErrno(result)))
    assert.equal((await bench.read({ kind: 'node', ino }))?.length, 100_000)
    await client.done(() => truncate(volume, caller, ino, 123, true))
    assert.deepEqual(await checkVolume(bench.engine), [])
  })

  claim('links, moves and removals leave a volume whose records agree', async bench => {
    const client = await start(bench)
    const hour = await bench.engine.allocate('nextTrash', 1)
    const trash = inoOf(TRASH_INO + hour)
    await client.done(() =>
      make(volume, caller, TRASH_INO, '2026-11-21-07', trash, node(2), { orExisting: false, inTrash: true }),
    )
    const kept = { ...forReal, trash }
    const [a, b] = [await client.made(ROOT_INO, 'a', 2), await client.made(ROOT_INO, 'b', 2)]
    const file = await client.made(a, 'file', 1)
    await client.writeAt(file, 0, 10_000)
    await client.made(a, 'sub', 2)
    await client.made(a, 'sym', 3)
    await client.done(() => link(volume, caller, file, b, 'again', { sid: 1 }))
    await client.done(() => link(volume, caller, file, a, 'third', { sid: 1 }))
    await client.writeAt(file, 10_000, 5)
    await client.done(() => unlink(volume, caller, a, 'file', kept))
    await client.done(() => unlink(volume, caller, a, 'third', forReal))
    await client.done(() => rename(volume, caller, { parent: a, name: 'sub' }, { parent: b, name: 'moved' }, 0, kept))
    const over = { parent: b, name: 'again' }
    await client.done(() => rename(volume, caller, { parent: a, name: 'sym' }, over, 0, kept))
    await client.done(() =>
      rename(volume, caller, { parent: b, name: 'moved' }, { parent: ROOT_INO, name: 'a' }, 2, kept),
    )
    await client.done(() => rmdir(volume, caller, b, 'moved', kept))
    assert.deepEqual(await checkVolume(bench.engine), [])
    const found = await client.done(() => lookup(caller, ROOT_INO, 'a'))
    assert.equal(found.attr.parent, ROOT_INO)
  })

  claim(
    'a file of more chunks than one commit takes is shortened step by step, and shows no old byte again',
    async bench => {
      const client = await start(bench)
      const chunks = 2 * CHUNKS_AT_ONCE + 300
      const ino = await longFile(bench, client, chunks)
      const lengths: number[] = []
      let zeroedFrom: number | undefined
      do {
        const step = await client.done(() => truncate(volume, caller, ino, 5, true, zeroedFrom))
        zeroedFrom = step.zeroedFrom
        lengths.push(step.attr.length)
        assert.deepEqual(await dataOf(bench, ino), { end: step.attr.length, behind: 0 })
        assert.deepEqual(await checkVolume(bench.engine), [], 'a crash may leave it so')
      } while (zeroedFrom !== undefined)
      assert.deepEqual(lengths, [1300 * CHUNK_BYTES, 300 * CHUNK_BYTES, 5])
      assert.ok(client.largest <= CHUNKS_AT_ONCE + 10, `${client.largest} changes in one commit`)
    },
  )

  claim('what lies behind the end is zeroed before a file grows over it, in steps that nobody sees', async bench => {
    const client = await start(bench)
    const chunks = CHUNKS_AT_ONCE + 300
    // As a client that broke the rules may have left it.
    const ino = await longFile(bench, client, chunks, 1)
    const first = await client.done(() => truncate(volume, caller, ino, chunks * CHUNK_BYTES, true))
    assert.deepEqual([first.attr.length, first.zeroedFrom], [1, 300 * CHUNK_BYTES])
    const last = await client.done(() => truncate(volume, caller, ino, chunks * CHUNK_BYTES, true, first.zeroedFrom))
    assert.deepEqual([last.attr.length, last.zeroedFrom], [chunks * CHUNK_BYTES, undefined])
    assert.deepEqual(await dataOf(bench, ino), { end: 1, behind: 0 })
    assert.deepEqual(await checkVolume(bench.engine), [])
  })

  claim('a hole over more chunks than one commit takes is punched step by step', async bench => {
    const client = await start(bench)
    const chunks = CHUNKS_AT_ONCE + 300
    const ino = await longFile(bench, client, chunks)
    const [mode, offset] = [0x03, 100]
    const punch = (zeroedFrom?: number) => () =>
      fallocate(volume, caller, ino, mode, offset, chunks * CHUNK_BYTES, zeroedFrom)
    const first = await client.done(punch())
    assert.equal(first.zeroedFrom, 300 * CHUNK_BYTES)
    assert.deepEqual(await dataOf(bench, ino), { end: 300 * CHUNK_BYTES, behind: 0 })
    const last = await client.done(punch(first.zeroedFrom))
    assert.equal(last.zeroedFrom, undefined)
    assert.deepEqual(await dataOf(bench, ino), { end: offset, behind: 0 })
    assert.deepEqual(await checkVolume(bench.engine), [])
  })
}
