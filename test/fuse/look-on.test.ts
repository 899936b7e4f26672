/** The addon's device on a socket instead of /dev/fuse: when it goes back to the event loop. */

import assert from 'node:assert/strict'
import fs from 'node:fs'
import { test } from 'node:test'
import { type NativeDevice, nativeFuse } from '../../src/fuse/native-addon.ts'

const native = nativeFuse()
const SLOT = 4096

/** `onRequest` may ask again by `ask`; `state[1]` is the number of requests that have no answer yet. */
function openDevice(lookOnMicros: number, onRequest: () => void) {
  const [ours, theirs] = native!.socketPair() as [number, number]
  native!.prepareDescriptor(ours)
  const state = new Int32Array(2 + 2 * 64)
  const out = Buffer.alloc(64)
  const device = native!.attach(ours, out, Buffer.from(state.buffer), SLOT, lookOnMicros, onRequest) as NativeDevice
  device.useArena(Buffer.alloc(2 * SLOT))
  device.resume()
  return {
    state,
    ask: () => void fs.writeSync(theirs, 'request!'),
    close(): void {
      device.close()
      fs.closeSync(theirs)
    },
  }
}

test('a client that asks without a pause does not keep the event loop from its timers', {
  skip: native === null && 'needs the addon',
}, async () => {
  const ends = performance.now() + 3000
  let asked = 0
  const device = openDevice(60, () => {
    asked++
    if (performance.now() < ends) device.ask()
  })
  try {
    device.ask()
    const late: number[] = []
    while (late.length < 50) {
      const began = performance.now()
      await new Promise(resolve => setTimeout(resolve, 2))
      late.push(performance.now() - began)
    }
    assert.ok(performance.now() < ends, 'all timers came while the client asked')
    assert.ok(asked > 500, `asked ${asked} times`)
    assert.ok(late.toSorted((a, b) => a - b)[25]! < 20, `timers of 2 ms took ${late}`)
  } finally {
    device.close()
  }
})

test('a request comes without a wake-up where the one before was answered at once, and not where an answer is owed', {
  skip: native === null && 'needs the addon',
}, async () => {
  /** The most requests that are taken before the loop turns. */
  async function takenInOneTurn(owedAfter: (left: number) => number): Promise<number> {
    let [taken, most, left] = [0, 0, 200]
    const device = openDevice(1000, () => {
      most = Math.max(most, ++taken)
      device.state[1] = owedAfter(--left)
      if (left > 0) device.ask()
    })
    try {
      device.ask()
      while (left > 0) {
        await new Promise(resolve => setImmediate(resolve))
        taken = 0
      }
      return most
    } finally {
      device.close()
    }
  }
  assert.ok((await takenInOneTurn(() => 0)) > 10)
  assert.equal(await takenInOneTurn(() => 1), 1)
  assert.ok((await takenInOneTurn(left => left % 2)) <= 3)
})
