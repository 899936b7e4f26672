import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Call } from '../../src/fuse/call.ts'
import { READ, SETLKW } from '../../src/fuse/constants.ts'
import { InFlight } from '../../src/fuse/in-flight.ts'
import { FuseRequest, RequestMemory } from '../../src/fuse/wire.ts'

function begin(inFlight: InFlight, opcode: number, unique: number): Call {
  const request = new FuseRequest(new RequestMemory(64))
  request.opcode = opcode
  request.uniqueLow = unique
  const call = new Call(request)
  call.startedMs = 1000
  inFlight.add(call)
  return call
}

test('an interrupted request is told so after a second, and given up after a minute and a half', () => {
  const givenUp: Call[] = []
  const inFlight = new InFlight(call => givenUp.push(call))
  const call = begin(inFlight, READ, 2)
  // Interrupted while young, as far as this clock is concerned.
  call.isInterrupted = true
  inFlight.watch(1999)
  assert.equal(call.cancelled, false)
  inFlight.watch(2000)
  assert.equal(call.cancelled, true)
  assert.deepEqual(givenUp, [])
  inFlight.watch(91_000)
  assert.deepEqual(givenUp, [call])
  inFlight.watch(92_000)
  assert.equal(givenUp.length, 1)
  assert.equal(inFlight.count, 1, 'its handler still runs')
  inFlight.remove(call)
  assert.equal(inFlight.count, 0)
  inFlight.close()
})

test('a request is cancelled after a quarter of an hour, a wait for a lock never', () => {
  const inFlight = new InFlight(() => {})
  const read = begin(inFlight, READ, 2)
  const lock = begin(inFlight, SETLKW, 4)
  inFlight.watch(900_999)
  assert.equal(read.cancelled, false)
  inFlight.watch(901_000)
  assert.equal(read.cancelled, true)
  assert.equal(lock.cancelled, false)
  inFlight.close()
})

test('whoever learns of a cancellation late learns of it at once', () => {
  const inFlight = new InFlight(() => {})
  const call = begin(inFlight, SETLKW, 2)
  assert.equal(inFlight.interrupt(2, 0), true)
  let told = 0
  call.onCancel(() => told++)
  call.cancel()
  assert.equal(told, 1)
  assert.equal(inFlight.interrupt(4, 0), false)
  inFlight.close()
})

test('idle resolves when the last handler has settled', async () => {
  const inFlight = new InFlight(() => {})
  const calls = [begin(inFlight, READ, 2), begin(inFlight, READ, 4)]
  let isIdle = false
  const idle = inFlight.idle().then(() => {
    isIdle = true
  })
  inFlight.remove(calls[0]!)
  await Promise.resolve()
  assert.equal(isIdle, false)
  inFlight.remove(calls[1]!)
  await idle
  inFlight.close()
})
