/** Leader election by counter: a periodic job runs on one client a period (spec meta-model section 16). */

import { type CounterName, counter, done, gather, type Operation } from '../facts.ts'

/** Clocks of clients differ by less; a time further ahead stands for a clock that was wrong, once, and would stop the job until then. */
const MAX_AHEAD_SEC = 86_400

/** True at most once in `diffSec` seconds among all clients: the counter holds when it was last true. */
export function* elect(name: CounterName, nowSec: number, diffSec: number): Operation<{ readonly elected: boolean }> {
  const [last] = yield* gather(counter(name))
  if (last > nowSec - diffSec && last <= nowSec + MAX_AHEAD_SEC) return done({ elected: false })
  return done({ elected: true }, [{ kind: 'putCounter', name, value: nowSec }])
}
