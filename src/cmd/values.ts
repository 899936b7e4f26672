/** The spellings of values on the command line (spec cli section 2). All results are plain numbers in the unit named. */

import { CommandError } from './exit.ts'

const UNITS: Readonly<Record<string, number>> = { B: 0, K: 1, M: 2, G: 3, T: 4, P: 5, E: 6 }
export type ByteUnit = 'B' | 'K' | 'M' | 'G'

/** `4M`, `1.5g`, or a bare number in `unit`; truncated to whole bytes. */
export function parseBytes(flag: string, text: string, unit: ByteUnit): number {
  const refuse = (why: string): CommandError => new CommandError(`Invalid value "${text}" for "${flag}": ${why}`)
  const last = text.at(-1) ?? ''
  const hasUnit = last !== '' && !/[0-9.]/.test(last)
  const power = UNITS[hasUnit ? last.toUpperCase() : unit]
  if (power === undefined) throw refuse('invalid unit')
  const digits = hasUnit ? text.slice(0, -1) : text
  if (!/^\d+(\.\d*)?$|^\.\d+$/.test(digits)) throw refuse('not a size')
  const bytes = Math.trunc(Number(digits) * 1024 ** power)
  if (bytes > Number.MAX_SAFE_INTEGER) throw refuse('too large')
  return bytes
}

/** `100`, `1.5G`: megabits per second, 1000-based. */
export function parseMbps(flag: string, text: string): number {
  const match = /^(\d+(?:\.\d*)?)([MGTP])?$/i.exec(text)
  if (!match) throw new CommandError(`Invalid value "${text}" for "${flag}": not a rate in Mbps`)
  return Math.trunc(Number(match[1]) * 1000 ** 'MGTP'.indexOf((match[2] ?? 'M').toUpperCase()))
}

const DURATION_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
}

/** Milliseconds of `12`, `0.5` (seconds), `300ms`, `2h45m`, `1.5d`, `1d12h`; null where it is none of these. */
export function parseDurationMs(text: string): number | null {
  if (/^-?\d+(\.\d*)?$|^-?\.\d+$/.test(text)) return Number(text) * 1000
  const days = /^(\d+(?:\.\d+)?)d/.exec(text)
  const rest = days ? text.slice(days[0].length) : text
  const ms = days ? Number(days[1]) * 86_400_000 : 0
  if (rest === '') return days ? ms : null
  if (!/^-?((\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h))+$/.test(rest)) return null
  let sum = 0
  for (const [, number, unit] of rest.matchAll(/(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)/g))
    sum += Number(number) * DURATION_MS[unit!]!
  return ms + (rest.startsWith('-') ? -sum : sum)
}

export function parseInteger(flag: string, text: string, options: { readonly signed: boolean }): number {
  if (!(options.signed ? /^-?\d+$/ : /^\d+$/).test(text) || !Number.isSafeInteger(Number(text))) {
    throw new CommandError(
      `Invalid value "${text}" for "${flag}": not ${options.signed ? 'an integer' : 'a non-negative integer'}`,
    )
  }
  return Number(text)
}

export function parseFloatValue(flag: string, text: string): number {
  if (!/^-?(\d+(\.\d*)?|\.\d+)$/.test(text))
    throw new CommandError(`Invalid value "${text}" for "${flag}": not a number`)
  return Number(text)
}

export function parseOctal(flag: string, text: string): number {
  if (!/^(0o)?[0-7]{1,6}$/.test(text))
    throw new CommandError(`Invalid value "${text}" for "${flag}": not an octal number`)
  return Number.parseInt(text.replace(/^0o/, ''), 8)
}

export function parseBoolean(flag: string, text: string): boolean {
  if (['true', '1', 't', 'T', 'TRUE', 'True'].includes(text)) return true
  if (['false', '0', 'f', 'F', 'FALSE', 'False'].includes(text)) return false
  throw new CommandError(`Invalid value "${text}" for "${flag}": not true or false`)
}

/** `key=value`, or nothing. CommandError for anything else. */
export function checkTag(text: string): string {
  if (text !== '' && !/^[^=]+=[^=]+$/.test(text)) throw new CommandError(`Invalid tag: "${text}" is not key=value`)
  return text
}
