/** A thread that compresses and decompresses. Buffers are handed over and handed back, never shared. */

import { parentPort } from 'node:worker_threads'
import { compressSync, uncompressSync } from 'lz4-napi'
import { DroppedMemory } from '../base/dropped-memory.ts'
import { causeText } from '../base/fault.ts'

export interface Lz4Request {
  readonly kind: 'compress' | 'uncompress'
  readonly input: ArrayBuffer
}
export type Lz4Reply = { readonly output: ArrayBuffer } | { readonly failure: string }

const port = parentPort!
const dropped = new DroppedMemory({ neededBytes: () => 0, mostBytes: 16 << 20 })

port.on('message', ({ kind, input }: Lz4Request) => {
  try {
    const bytes = Buffer.from(input)
    dropped.made(bytes)
    const made = kind === 'compress' ? compressSync(bytes) : uncompressSync(bytes)
    // It is memory of the library's, which cannot be handed over.
    const output = new Uint8Array(made).buffer
    dropped.made(made)
    reply({ output }, [output])
  } catch (error) {
    reply({ failure: causeText(error) }, [])
  }
})

const reply = (message: Lz4Reply, handedOver: ArrayBuffer[]): void => port.postMessage(message, handedOver)
