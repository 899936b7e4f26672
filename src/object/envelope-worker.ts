/** A thread that seals and opens envelopes. Buffers are handed over and handed back, never shared and never cloned. */

import { parentPort, workerData } from 'node:worker_threads'
import { causeText } from '../base/fault.ts'
import { type EnvelopeKey, seal, unseal } from './envelope.ts'

/** `room` holds, from its beginning, `bytes` bytes of an envelope: to be sealed in place, or to be opened. */
export interface EnvelopeRequest {
  readonly kind: 'seal' | 'unseal'
  readonly room: ArrayBuffer
  readonly bytes: number
}
export interface EnvelopeReply {
  readonly room: ArrayBuffer
  /** of an opened one */
  readonly plain?: ArrayBuffer
  readonly failure?: string
}

const key = workerData as EnvelopeKey
const port = parentPort!

port.on('message', ({ kind, room, bytes }: EnvelopeRequest) => {
  try {
    const envelope = Buffer.from(room, 0, bytes)
    if (kind === 'seal') {
      seal(key, envelope)
      reply({ room }, [room])
      return
    }
    const plain = ownBytes(unseal(key, envelope))
    reply({ room, plain }, [room, plain])
  } catch (error) {
    reply({ room, failure: causeText(error) }, [room])
  }
})

const reply = (message: EnvelopeReply, handedOver: ArrayBuffer[]): void => port.postMessage(message, handedOver)

/** A decipher gives memory of its own, which can be handed over as it is; were it a part of something larger, a copy would be. */
function ownBytes(bytes: Buffer): ArrayBuffer {
  const { buffer } = bytes
  if (buffer instanceof ArrayBuffer && buffer.byteLength === bytes.length) return buffer
  return new Uint8Array(bytes).buffer
}
