/** A thread that compresses and decompresses. Memory is handed over, never shared, and freed as soon as it was used. */

import { parentPort } from 'node:worker_threads'
import { compressSync, uncompressSync } from 'lz4-napi'
import { causeText } from '../base/fault.ts'
import { free } from '../base/own-memory.ts'

/** The bytes are `length` from `offset` on in `memory`; the answer shall be in `target`, which may be the same. */
export interface Lz4Request {
  readonly kind: 'compress' | 'uncompress'
  readonly memory: ArrayBuffer
  readonly offset: number
  readonly length: number
  readonly target: ArrayBuffer
}
export type Lz4Reply = { readonly target: ArrayBuffer; readonly length: number } | { readonly failure: string }

const port = parentPort!

port.on('message', ({ kind, memory, offset, length, target }: Lz4Request) => {
  try {
    const bytes = Buffer.from(memory, offset, length)
    const made = kind === 'compress' ? compressSync(bytes) : uncompressSync(bytes)
    const answer = { target, length: made.length }
    // It is memory of the library's, which cannot be handed over.
    new Uint8Array(target).set(made)
    free(made.buffer)
    if (memory !== target) free(memory)
    reply(answer, [target])
  } catch (error) {
    reply({ failure: causeText(error) }, [])
  }
})

const reply = (message: Lz4Reply, handedOver: ArrayBuffer[]): void => port.postMessage(message, handedOver)
