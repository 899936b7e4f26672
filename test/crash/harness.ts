/** For the tests of this room: small file systems that can be filled, files with known bytes, and the question whether the
 *  bucket holds what the records name. */

import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, statSync } from 'node:fs'
import fs from 'node:fs/promises'
import { join } from 'node:path'
import { readU64 } from '../../src/base/bytes.ts'
import { silentLog } from '../../src/base/log.ts'
import { blocksOf, objectKey } from '../../src/chunk/keys.ts'
import { openEngine } from '../../src/cmd/volume.ts'
import { checkVolume } from '../../src/meta/check.ts'
import type { Engine, ScanKind, Scans } from '../../src/meta/engine.ts'
import { decodeRecords } from '../../src/meta/model/slice.ts'
import { rowsOf } from '../../src/meta/scan.ts'

export const MIB = 1 << 20
export const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

/** A file system of its own in memory over `dir`; `remove` takes it away whatever uses it. */
export function smallFileSystem(dir: string, size: string): { remove(): void } {
  mkdirSync(dir, { recursive: true })
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', dir])
  return { remove: () => void spawnSync('umount', ['-l', dir], { stdio: 'ignore' }) }
}

/** Bytes that differ at every offset and with every seed. */
export function bytesOf(seed: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length)
  let state = (seed + 1) * 2654435761
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    bytes[i] = state >>> 24
  }
  return bytes
}

/** Creates or overwrites a file and makes it durable; throws what the application would see. */
export async function writeDurable(path: string, bytes: Buffer): Promise<void> {
  const file = await fs.open(path, 'w')
  try {
    await file.writeFile(bytes)
    await file.sync()
  } finally {
    await file.close()
  }
}

export async function assertFiles(dir: string, files: ReadonlyMap<string, Buffer>): Promise<void> {
  for (const [name, bytes] of files) {
    const found = await fs.readFile(join(dir, name))
    assert.ok(found.equals(bytes), `${name} reads back as it was written`)
  }
}

/** What is wrong with a volume at rest, one line each: its records, and blocks that are missing or of a wrong size. Objects
 *  that no record names are allowed only to `garbage`. */
export async function checkStored(
  metaUrl: string,
  objects: string,
  options: { readonly blockBytes: number; readonly garbage: boolean },
): Promise<string[]> {
  const engine = await openEngine(metaUrl, { log: silentLog, mustExist: true })
  try {
    const wrong = await checkVolume(engine)
    const slices = new Map<number, number>()
    for (const { records } of await all(engine, 'chunks', { ino: null })) {
      for (const { id, size } of decodeRecords(records)) if (id > 0) slices.set(id, size)
    }
    for (const { items } of await all(engine, 'trashedSlices', { before: Number.MAX_SAFE_INTEGER })) {
      for (let at = 0; at < items.length; at += 12) slices.set(readU64(items, at), items.readUInt32BE(at + 8))
    }
    const stored = new Map(
      (readdirSync(join(objects, 'chunks'), { recursive: true }) as string[]).map(path => [`chunks/${path}`, path]),
    )
    for (const [id, size] of slices) {
      for (const block of blocksOf({ id, size }, options.blockBytes)) {
        const key = objectKey(block, false)
        if (!stored.delete(key)) wrong.push(`object ${key} is missing`)
        else if (statSync(join(objects, key)).size !== block.length) wrong.push(`object ${key} has a wrong size`)
      }
    }
    const waiting = new Set((await all(engine, 'unusedSlices', {})).map(({ id }) => id))
    for (const key of stored.keys()) {
      if (!statSync(join(objects, key)).isFile() || options.garbage) continue
      const id = Number(/(\d+)_\d+_\d+$/.exec(key)?.[1])
      if (!waiting.has(id)) wrong.push(`object ${key} is named by no record`)
    }
    return wrong
  } finally {
    await engine.close()
  }
}

async function all<K extends ScanKind>(engine: Engine, kind: K, args: Scans[K]['args']) {
  const rows: Scans[K]['row'][] = []
  for await (const row of rowsOf(engine, kind, args)) rows.push(row)
  return rows
}
