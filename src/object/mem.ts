/** Objects in this process's memory (storage `mem`): lost at exit, for tests and trials. A get gives views: bytes that are
 *  stored are never written again. */

import type { Clock } from '../base/clock.ts'
import { keep } from '../base/dropped-memory.ts'
import { type ObjectInfo, ObjectMissing, type ObjectStore } from './store.ts'

export class MemStore implements ObjectStore {
  readonly description: string
  readonly limits = { rangeReads: true, maxListPage: 10_000 }
  readonly #objects = new Map<string, { bytes: Buffer; mtimeMs: number }>()
  readonly #clock: Clock

  constructor(name: string, clock: Clock) {
    this.description = `mem://${name}/`
    this.#clock = clock
  }

  async get(key: string, range?: { readonly offset: number; readonly length: number }): Promise<Buffer> {
    const object = this.#objects.get(key)
    if (!object) throw new ObjectMissing(key)
    const { offset, length } = range ?? { offset: 0, length: object.bytes.length }
    return object.bytes.subarray(offset, offset + length)
  }

  async put(key: string, body: Buffer): Promise<void> {
    const bytes = Buffer.from(body)
    keep(bytes.buffer)
    this.#objects.set(key, { bytes, mtimeMs: this.#clock.now().sec * 1000 })
  }

  async delete(key: string): Promise<void> {
    this.#objects.delete(key)
  }

  async head(key: string): Promise<ObjectInfo | null> {
    const object = this.#objects.get(key)
    return object ? { key, size: object.bytes.length, mtimeMs: object.mtimeMs, isDirectory: false } : null
  }

  async list(prefix: string, marker: string, limit: number): Promise<ObjectInfo[]> {
    const keys = [...this.#objects.keys()].filter(key => key.startsWith(prefix) && key > marker).sort()
    const infos: ObjectInfo[] = []
    for (const key of keys.slice(0, limit)) {
      const object = this.#objects.get(key)
      if (object) infos.push({ key, size: object.bytes.length, mtimeMs: object.mtimeMs, isDirectory: false })
    }
    return infos
  }

  async create(): Promise<void> {}
  async close(): Promise<void> {}
}
