/** Leader election by counter: a periodic job runs on one client a period (spec meta-model section 16). */

import { type CounterName, counter, done, gather, type Operation } from '../facts.ts'

/** True at most once in `diffSec` seconds among all clients: the counter holds when it was last true. */
export function* elect(name: CounterName, nowSec: number, diffSec: number): Operation<{ readonly elected: boolean }> {
  const [last] = yield* gather(counter(name))
  if (last > nowSec - diffSec) return done({ elected: false })
  return done({ elected: true }, [{ kind: 'putCounter', name, value: nowSec }])
}
