/** A thread that seals and opens envelopes. Buffers are handed over and handed back, never shared and never cloned. */

import { parentPort, workerData } from 'node:worker_threads'
import { causeText } from '../base/fault.ts'
import { type EnvelopeKey, seal, unseal } from './envelope.ts'

/** `memory` holds, from `offset` on, `bytes` bytes of an envelope: to be sealed or opened in place. */
export interface EnvelopeRequest {
  readonly kind: 'seal' | 'unseal'
  readonly memory: ArrayBuffer
  readonly offset: number
  readonly bytes: number
}
export interface EnvelopeReply {
  readonly memory: ArrayBuffer
  /** where the plain bytes of an opened envelope are */
  readonly plain?: { readonly offset: number; readonly bytes: number }
  readonly failure?: string
}

const key = workerData as EnvelopeKey
const port = parentPort!

port.on('message', ({ kind, memory, offset, bytes }: EnvelopeRequest) => {
  try {
    const envelope = Buffer.from(memory, offset, bytes)
    if (kind === 'seal') {
      seal(key, envelope)
      reply({ memory })
      return
    }
    const plain = unseal(key, envelope)
    reply({ memory, plain: { offset: plain.byteOffset, bytes: plain.length } })
  } catch (error) {
    reply({ memory, failure: causeText(error) })
  }
})

const reply = (message: EnvelopeReply): void => port.postMessage(message, [message.memory])
