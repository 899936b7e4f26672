import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BATCH_FORGET, FORGET, GETATTR, HEADER_ROOM_BYTES, INTERRUPT, SETLKW, WRITE } from '../../src/fuse/constants.ts'
import type { NativeDevice, NativeFuse } from '../../src/fuse/native-addon.ts'
import { NativeTransport } from '../../src/fuse/native-transport.ts'
import type { RequestMemory } from '../../src/fuse/wire.ts'

const MAX_WRITE = 65_536

/** The addon's side of the arena: "reads" requests of the given sizes as juicefs_fuse.c does. */
function fakeAddon() {
  const made = {
    arena: Buffer.alloc(0) as Buffer,
    state: new Int32Array(0) as Int32Array,
    isPolling: false,
    deliver: (_count: number): void => {},
    readOne(opcode: number): void {
      made.arena.writeUInt32LE(80, made.state[0]!)
      made.arena.writeUInt32LE(opcode, made.state[0]! + 4)
      made.state[2] = made.state[0]!
      made.state[3] = 80
      made.deliver(1)
    },
    read(...sizes: number[]): void {
      assert.ok(made.isPolling, 'a paused device is not read')
      let offset = made.state[0]!
      sizes.forEach((size, i) => {
        assert.ok(made.arena.length - offset >= MAX_WRITE + HEADER_ROOM_BYTES, 'there is room for the largest request')
        made.arena.fill(i + 1, offset, offset + size)
        made.arena.writeUInt32LE(size, offset)
        made.arena.writeUInt32LE(WRITE, offset + 4)
        made.state[2 + 2 * i] = offset
        made.state[3 + 2 * i] = size
        offset += (size + 7) & ~7
      })
      made.deliver(sizes.length)
    },
  }
  const device: NativeDevice = {
    reply: () => 0,
    replyPieces: () => 0,
    useArena: memory => {
      made.arena = memory
      return 0
    },
    resume: () => {
      made.isPolling = true
      return 0
    },
    pause: () => {
      made.isPolling = false
      return 0
    },
    close: () => 0,
  }
  const addon = {
    attach: (
      _fd: number,
      _out: Buffer,
      state: Buffer,
      _slot: number,
      _lookOn: number,
      onBatch: (count: number) => void,
    ) => {
      made.state = new Int32Array(state.buffer, state.byteOffset, state.length / 4)
      made.deliver = onBatch
      return device
    },
  } as unknown as NativeFuse
  return { made, addon }
}

test('memory that nobody holds is used again from its front', () => {
  const { made, addon } = fakeAddon()
  const transport = new NativeTransport(addon, -1, MAX_WRITE, null)
  let seen = 0
  transport.start(
    (_, count) => {
      seen += count
    },
    () => {},
  )
  for (let i = 0; i < 100; i++) made.read(100, 3000)
  assert.equal(seen, 200)
  assert.equal(made.state[0], 0)
})

test('held requests keep their bytes, the device is not read while all memory is held, and none is left over', () => {
  const { made, addon } = fakeAddon()
  const transport = new NativeTransport(addon, -1, MAX_WRITE, null)
  const held: { memory: RequestMemory; bytes: Buffer; before: Buffer }[] = []
  transport.start(
    (requests, count) => {
      for (const request of requests.slice(0, count)) {
        const bytes = request.memory.buf.subarray(request.arg, request.end)
        held.push({ memory: transport.hold(request), bytes, before: Buffer.from(bytes) })
      }
    },
    () => {},
  )
  while (made.isPolling) made.read(MAX_WRITE + 80)
  assert.ok(held.length >= 64, `${held.length} of the largest writes are held`)
  assert.equal(transport.heldCount, held.length)
  for (const { bytes, before } of held) assert.ok(bytes.equals(before))

  const last = held.pop()!
  transport.release(last.memory)
  while (!made.isPolling) transport.release(held.pop()!.memory)
  made.read(500)
  for (const { bytes, before } of held) assert.ok(bytes.equals(before))
  for (const { memory } of held.splice(0)) transport.release(memory)
  assert.equal(transport.heldCount, 0)
  for (let i = 0; i < 10; i++) made.read(MAX_WRITE + 80)
  for (const { memory } of held) transport.release(memory)
  assert.equal(transport.heldCount, 0)
})

test('the errno of a device that is gone is told once it is read', () => {
  const { made, addon } = fakeAddon()
  const transport = new NativeTransport(addon, -1, MAX_WRITE, null)
  const told: number[] = []
  transport.start(
    () => {},
    errno => told.push(errno),
  )
  made.deliver(-19)
  assert.deepEqual(told, [19])
})

test('the addon is told how many requests have no answer yet, of those that get one soon', () => {
  const { made, addon } = fakeAddon()
  const transport = new NativeTransport(addon, -1, MAX_WRITE, null)
  const opcodes = [GETATTR, FORGET, GETATTR, BATCH_FORGET, INTERRUPT, SETLKW, GETATTR]
  transport.start(
    () => {},
    () => {},
  )
  const unanswered = (): number => made.state[1]!
  for (const opcode of opcodes) made.readOne(opcode)
  assert.equal(unanswered(), 3)
  const to = { opcode: GETATTR, uniqueLow: 2, uniqueHigh: 0 }
  transport.replyOut(to, 8)
  assert.equal(unanswered(), 2)
  for (const opcode of [INTERRUPT, SETLKW]) transport.replyError({ ...to, opcode }, 11)
  assert.equal(unanswered(), 2)
  transport.replyError(to, 2)
  transport.replyData(to, 0, [Buffer.from('x')], 1)
  assert.equal(unanswered(), 0)
  transport.replyError(to, 5)
  assert.equal(unanswered(), 0)
})
