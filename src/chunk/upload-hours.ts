/** `--upload-hours`: when staged blocks may be uploaded, in hours of local time (spec disk-cache section 6.4). */

import type { Time } from '../base/clock.ts'

export interface UploadHours {
  /** 0…23 */
  readonly from: number
  /** not included; below `from`: past midnight; the same: always */
  readonly to: number
}

/** `22-6` or `22,6`; null for anything else. */
export function parseUploadHours(text: string): UploadHours | null {
  const match = /^\s*(\d{1,2})\s*[-,]\s*(\d{1,2})\s*$/.exec(text)
  if (match === null) return null
  const [from, to] = [Number(match[1]), Number(match[2])]
  return from <= 23 && to <= 23 ? { from, to } : null
}

/** null: at any time. */
export function isUploadHour(hours: UploadHours | null, now: Time): boolean {
  if (hours === null || hours.from === hours.to) return true
  const hour = new Date(now.sec * 1000).getHours()
  const { from, to } = hours
  return from < to ? hour >= from && hour < to : hour >= from || hour < to
}
