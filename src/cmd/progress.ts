/** Progress bars on stdout, 64 columns wide, on a terminal only (spec cli section 3). One is drawn at a time; a finished one
 *  stays where it is. */

import { durationText } from './humanize.ts'

const WIDTH = 64
const REDRAW_MS = 100

export const barsAreShown = (): boolean => process.stdout.isTTY === true && process.env.DISPLAY_PROGRESSBAR !== 'false'

/** Draws `read()` of `total` while `work` runs. */
export async function withBar<T>(name: string, total: number, read: () => number, work: () => Promise<T>): Promise<T> {
  if (!barsAreShown()) return work()
  const start = performance.now()
  const draw = (isDone: boolean): void => {
    process.stdout.write(
      `\r\x1b[J${barLine({ name, current: read(), total, elapsedMs: performance.now() - start, isDone })}`,
    )
  }
  // Begun before anything is drawn: the counts of the work before this one are gone then.
  const running = work()
  draw(false)
  const timer = setInterval(() => draw(false), REDRAW_MS)
  try {
    return await running
  } finally {
    clearInterval(timer)
    draw(true)
    process.stdout.write('\n')
  }
}

/** Shows `read()` in one line that is drawn over while `work` runs, where bars are shown: for work whose end is not known. */
export async function withLine<T>(read: () => string, work: () => Promise<T>): Promise<T> {
  if (!barsAreShown()) return work()
  const draw = (): void => void process.stdout.write(`\r\x1b[J${read()}`)
  const timer = setInterval(draw, REDRAW_MS)
  try {
    return await work()
  } finally {
    clearInterval(timer)
    draw()
    process.stdout.write('\n')
  }
}

export function barLine(bar: {
  name: string
  current: number
  total: number
  elapsedMs: number
  isDone: boolean
}): string {
  const share = bar.total === 0 ? 1 : Math.min(1, bar.current / bar.total)
  const filled = Math.round(share * (WIDTH - 2))
  const tip = filled > 0 && filled < WIDTH - 2 ? `${'='.repeat(filled - 1)}>` : '='.repeat(filled)
  const rate = bar.elapsedMs > 0 ? bar.current / (bar.elapsedMs / 1000) : 0
  const left = rate > 0 ? ((bar.total - bar.current) / rate) * 1000 : 0
  const time = bar.isDone
    ? `used: ${durationText(Math.round(bar.elapsedMs))}`
    : `ETA: ${durationText(Math.round(left / 1000) * 1000)}`
  return `${bar.name}: ${bar.current}/${bar.total} [${tip}${'-'.repeat(WIDTH - 2 - filled)}]  ${rate.toFixed(1)}/s ${time}`
}
