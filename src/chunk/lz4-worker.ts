/** A thread that compresses and decompresses. Memory is handed over, never shared, and freed as soon as it was used. */

import { parentPort } from 'node:worker_threads'
import { compressSync, uncompressSync } from 'lz4-napi'
import { causeText } from '../base/fault.ts'
import { free } from '../base/own-memory.ts'

/** The bytes are `length` from `offset` on; the memory is the thread's. */
export interface Lz4Request {
  readonly memory: ArrayBuffer
  readonly offset: number
  readonly length: number
  /** for what is decompressed, which is as long; absent: compress */
  readonly room?: ArrayBuffer
}
export type Lz4Reply = { readonly output: ArrayBuffer; readonly length: number } | { readonly failure: string }

const port = parentPort!

port.on('message', ({ memory, offset, length, room }: Lz4Request) => {
  try {
    const bytes = Buffer.from(memory, offset, length)
    const made = room ? uncompressSync(bytes) : compressSync(bytes)
    free(memory)
    // It is memory of the library's, which cannot be handed over.
    const output = room ?? Buffer.allocUnsafeSlow(made.length).buffer
    made.copy(Buffer.from(output))
    const answer = { output, length: made.length }
    free(made.buffer)
    reply(answer, [output])
  } catch (error) {
    reply({ failure: causeText(error) }, [])
  }
})

const reply = (message: Lz4Reply, handedOver: ArrayBuffer[]): void => port.postMessage(message, handedOver)
