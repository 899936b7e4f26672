import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { RateLimit } from '../../src/object/rate-limit.ts'

/** Time that passes only when told to; `late`: how much later than asked a timer fires. */
class VirtualClock {
  nowMs = 1000
  late: () => number = () => 0
  #timers: { at: number; fire: () => void }[] = []

  monotonicMs(): number {
    return this.nowMs
  }
  readonly schedule = (ms: number, fire: () => void): (() => void) => {
    const timer = { at: this.nowMs + ms + this.late(), fire }
    this.#timers.push(timer)
    return () => {
      this.#timers = this.#timers.filter(each => each !== timer)
    }
  }
  get timers(): number {
    return this.#timers.length
  }

  async advance(ms: number): Promise<void> {
    const end = this.nowMs + ms
    for (;;) {
      const next = this.#timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0]
      if (!next) break
      this.#timers = this.#timers.filter(each => each !== next)
      this.nowMs = Math.max(this.nowMs, next.at)
      next.fire()
      await settle()
    }
    this.nowMs = end
  }
}

const settle = async (): Promise<void> => {
  for (let i = 0; i < 5; i++) await Promise.resolve()
}

const MBPS = 100
/** 0.85 × 100 Mbit/s */
const BYTES_A_SECOND = 10_625_000

/** `callers` that pay for one body after the other; counts the bytes that passed. */
function load(limit: RateLimit, callers: number, bytesOf: () => number): { passed: number; stop: () => void } {
  const state = { passed: 0, stopped: false, stop: () => void (state.stopped = true) }
  const run = async (): Promise<void> => {
    while (!state.stopped) {
      const bytes = bytesOf()
      await limit.pay(bytes)
      state.passed += bytes
    }
  }
  for (let i = 0; i < callers; i++) void run()
  return state
}

describe('a bandwidth limit', () => {
  for (const [what, bytesOf] of [
    ['blocks of 4 MiB', () => 4 << 20],
    ['objects of 100 KiB', () => 100 << 10],
    ['objects of one byte to 1 MiB', seeded(7)],
  ] as const) {
    it(`holds within a tenth over seconds for ${what}, also when timers are late`, async () => {
      const clock = new VirtualClock()
      const limit = new RateLimit(MBPS, clock, clock.schedule)
      const late = seeded(3)
      clock.late = () => late() % 30
      const flow = load(limit, 20, bytesOf)
      await clock.advance(2000)
      const before = flow.passed
      await clock.advance(10_000)
      const rate = (flow.passed - before) / 10
      flow.stop()
      assert.ok(Math.abs(rate / BYTES_A_SECOND - 1) < 0.1, `${rate} bytes a second`)
    })
  }

  it('never lets more pass in any second than a second’s worth, a burst and one body', async () => {
    const clock = new VirtualClock()
    const limit = new RateLimit(MBPS, clock, clock.schedule)
    await clock.advance(60_000) // rest, so that the burst is there
    const flow = load(limit, 8, () => 300_000)
    let before = 0
    for (let second = 0; second < 10; second++) {
      await clock.advance(1000)
      assert.ok(flow.passed - before <= BYTES_A_SECOND + 1_250_000 + 300_000, `second ${second}`)
      before = flow.passed
    }
    flow.stop()
  })

  it('gives a burst of a tenth of a second after a pause, not more', async () => {
    const clock = new VirtualClock()
    const limit = new RateLimit(MBPS, clock, clock.schedule)
    await clock.advance(3_600_000)
    assert.equal(limit.pay(1_250_000), undefined)
    assert.ok(limit.pay(1) instanceof Promise)
  })

  it('serves who came first, and keeps one timer however many wait', async () => {
    const clock = new VirtualClock()
    const limit = new RateLimit(MBPS, clock, clock.schedule)
    const order: number[] = []
    for (let i = 0; i < 500; i++) void limit.pay(i % 2 ? 10 : 5_000_000)?.then(() => order.push(i))
    assert.equal(limit.waiting, 500)
    assert.equal(clock.timers, 1)
    await clock.advance(200_000)
    assert.equal(order.length, 500)
    assert.deepEqual(
      order,
      [...order].sort((a, b) => a - b),
    )
    assert.deepEqual([limit.waiting, clock.timers], [0, 0])
  })

  it('that is changed holds at once, also for those who wait', async () => {
    const clock = new VirtualClock()
    const limit = new RateLimit(1, clock, clock.schedule)
    let passed = false
    void limit.pay(100_000_000)?.then(() => {
      passed = true
    })
    await clock.advance(1000)
    limit.set(MBPS)
    await clock.advance(9000)
    assert.equal(passed, false)
    await clock.advance(1000)
    assert.equal(passed, true)
  })

  it('that is taken away lets everybody pass, and costs nothing then', async () => {
    const clock = new VirtualClock()
    const limit = new RateLimit(1, clock, clock.schedule)
    const waiting = [limit.pay(1e9), limit.pay(1e9)]
    limit.set(0)
    await Promise.all(waiting)
    assert.equal(limit.pay(1e12), undefined)
    assert.equal(limit.isUnlimited, true)
    assert.equal(clock.timers, 0)
  })

  it('holds by the machine’s own clock', async () => {
    const limit = new RateLimit(80, { monotonicMs: () => performance.now() })
    await limit.pay(1_000_000)
    const start = performance.now()
    await limit.pay(850_000)
    const ms = performance.now() - start
    assert.ok(ms > 90 && ms < 400, `850,000 bytes at 8.5 MB/s took ${ms} ms`)
  })
})

function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
    return 1 + ((state >> 8) % (1 << 20))
  }
}
