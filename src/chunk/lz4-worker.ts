/** A thread that compresses and decompresses. Memory is handed over, never shared, and freed as soon as it was used. */

import { parentPort } from 'node:worker_threads'
import { compressSync, uncompressSync } from 'lz4-napi'
import { causeText } from '../base/fault.ts'
import { free } from '../base/own-memory.ts'

/** The bytes are `length` from `offset` on; the memory is the thread's. */
export interface Lz4Request {
  readonly kind: 'compress' | 'uncompress'
  readonly memory: ArrayBuffer
  readonly offset: number
  readonly length: number
}
export type Lz4Reply = { readonly output: ArrayBuffer } | { readonly failure: string }

const port = parentPort!

port.on('message', ({ kind, memory, offset, length }: Lz4Request) => {
  try {
    const bytes = Buffer.from(memory, offset, length)
    const made = kind === 'compress' ? compressSync(bytes) : uncompressSync(bytes)
    free(memory)
    // It is memory of the library's, which cannot be handed over.
    const output = Buffer.allocUnsafeSlow(made.length)
    output.set(made)
    free(made.buffer)
    const { buffer } = output
    reply({ output: buffer }, [buffer])
  } catch (error) {
    reply({ failure: causeText(error) }, [])
  }
})

const reply = (message: Lz4Reply, handedOver: ArrayBuffer[]): void => port.postMessage(message, handedOver)
