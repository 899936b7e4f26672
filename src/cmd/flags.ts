/** Flags as data, and argv read by them. Rules: spec cli section 1. Options may stand before, between and after arguments;
 *  one dash or two; `--flag value` and `--flag=value`; global flags anywhere. */

import { CommandError } from './exit.ts'
import {
  type ByteUnit,
  parseBoolean,
  parseBytes,
  parseDurationMs,
  parseFloatValue,
  parseInteger,
  parseMbps,
  parseOctal,
} from './values.ts'

export type FlagKind = 'bool' | 'string' | 'bytes' | 'mbps' | 'duration' | 'int' | 'uint' | 'float' | 'octal'

export interface Flag {
  readonly name: string
  readonly aliases?: readonly string[]
  readonly kind: FlagKind
  /** of a bare number of bytes */
  readonly unit?: ByteUnit
  /** as it would be typed; absent: false, 0 or '' */
  readonly fallback?: string
  readonly help: string
  readonly category?: string
  readonly hidden?: boolean
  /** Not built: any value but the fallback and these is refused by name. */
  readonly refused?: readonly string[]
}

export interface Command {
  readonly name: string
  readonly category: 'ADMIN' | 'INSPECTOR' | 'SERVICE' | 'TOOL'
  readonly summary: string
  /** shown after `[command options]` */
  readonly argsUsage: string
  readonly minArgs: number
  readonly maxArgs: number
  readonly flags: readonly Flag[]
  readonly run: () => Promise<{ run(options: Options, args: readonly string[]): Promise<number> }>
}

export type Value = string | number | boolean

/** Parsed values. Durations are milliseconds, bytes bytes, rates Mbps. Asking for a flag that the command does not have, or as
 *  another kind, is a bug. */
export class Options {
  readonly #flags: ReadonlyMap<string, Flag>
  readonly #given: ReadonlyMap<string, string>

  constructor(flags: readonly Flag[], given: ReadonlyMap<string, string>) {
    this.#flags = new Map(flags.map(flag => [flag.name, flag]))
    this.#given = given
  }

  /** Was it typed (rather than left to its default)? */
  given(name: string): boolean {
    return this.#given.has(name)
  }
  /** Its value as it was typed; undefined where it was left to its default. */
  typed(name: string): string | undefined {
    return this.#given.get(name)
  }
  /** Was anything typed besides these? */
  anyGiven(besides: readonly string[]): boolean {
    return [...this.#given.keys()].some(name => !besides.includes(name))
  }
  bool(name: string): boolean {
    return this.#value(name) as boolean
  }
  number(name: string): number {
    return this.#value(name) as number
  }
  string(name: string): string {
    return this.#value(name) as string
  }

  #value(name: string): Value {
    const flag = this.#flags.get(name)
    if (!flag) throw new Error(`no flag --${name}`)
    return parseValue(flag, this.#given.get(name) ?? flag.fallback ?? '')
  }
}

export function parseValue(flag: Flag, text: string): Value {
  switch (flag.kind) {
    case 'string':
      return text
    case 'bool':
      return text === '' ? false : parseBoolean(flag.name, text)
    case 'bytes':
      return parseBytes(flag.name, text === '' ? '0' : text, flag.unit ?? 'B')
    case 'mbps':
      return parseMbps(flag.name, text === '' ? '0' : text)
    case 'int':
    case 'uint':
      return parseInteger(flag.name, text === '' ? '0' : text, { signed: flag.kind === 'int' })
    case 'float':
      return parseFloatValue(flag.name, text === '' ? '0' : text)
    case 'octal':
      return parseOctal(flag.name, text === '' ? '0' : text)
    case 'duration': {
      const ms = parseDurationMs(text === '' ? '0' : text)
      // The reference takes it for 0 with a warning; a typing error in a time-out should not be guessed at.
      if (ms === null || ms < 0) throw new CommandError(`Invalid duration value: ${text} for "${flag.name}"`)
      return ms
    }
  }
}

export interface ParsedArgv {
  readonly command: string | undefined
  readonly args: readonly string[]
  readonly globals: ReadonlyMap<string, string>
  readonly given: ReadonlyMap<string, string>
}

/** Splits argv. `flagsOf` tells a command's flags, undefined for a command that does not exist (its options are then left alone). */
export function parseArgv(
  argv: readonly string[],
  globalFlags: readonly Flag[],
  flagsOf: (command: string) => readonly Flag[] | undefined,
): ParsedArgv {
  const commandIndex = findCommand(argv, globalFlags)
  const command = commandIndex < 0 ? undefined : argv[commandIndex]
  const commandFlags = command === undefined ? [] : flagsOf(command)
  const [ours, theirs] = [byName(globalFlags), byName(commandFlags ?? [])]
  const globals = new Map<string, string>()
  const given = new Map<string, string>()
  const args: string[] = []
  for (let i = 0; i < argv.length; i++) {
    const token = argv[i]!
    if (i === commandIndex) continue
    if (!looksLikeFlag(token)) {
      args.push(token)
      continue
    }
    const [name, inline] = splitFlag(token)
    // A command's own flag wins over a global one of that name (`umount -f`, `bench -p`).
    const flag = theirs.get(name) ?? ours.get(name)
    if (!flag) {
      if (commandFlags === undefined) continue
      throw new CommandError(`unknown option: "${token.split('=')[0]}"`) // its value may be a secret
    }
    const target = theirs.has(name) ? given : globals
    if (inline !== undefined) target.set(flag.name, inline)
    else if (flag.kind === 'bool') target.set(flag.name, 'true')
    else {
      const value = argv[++i]
      if (value === undefined || i === commandIndex) throw new CommandError(`option "${token}" requires value`)
      target.set(flag.name, value)
    }
  }
  return { command, args, globals, given }
}

/** Refuses, by name, what was asked for and is not built; checks the spelling of every given value. */
export function checkFlags(flags: readonly Flag[], given: ReadonlyMap<string, string>): void {
  for (const flag of flags) {
    const text = given.get(flag.name)
    if (text === undefined) continue
    const value = parseValue(flag, text)
    if (!flag.refused) continue
    const harmless = [flag.fallback ?? '', ...flag.refused].map(each => parseValue(flag, each))
    if (!harmless.includes(value)) throw new CommandError(`--${flag.name} is not supported yet`)
  }
}

/** The first token that is neither a global flag nor the value of one. */
function findCommand(argv: readonly string[], globalFlags: readonly Flag[]): number {
  const ours = byName(globalFlags)
  for (let i = 0; i < argv.length; i++) {
    const token = argv[i]!
    if (!looksLikeFlag(token)) return i
    const [name, inline] = splitFlag(token)
    const flag = ours.get(name)
    if (flag && flag.kind !== 'bool' && inline === undefined) i++
  }
  return -1
}

const looksLikeFlag = (token: string): boolean => token.length > 1 && token.startsWith('-')

function splitFlag(token: string): [name: string, inline: string | undefined] {
  const body = token.replace(/^--?/, '')
  const equals = body.indexOf('=')
  return equals < 0 ? [body, undefined] : [body.slice(0, equals), body.slice(equals + 1)]
}

function byName(flags: readonly Flag[]): Map<string, Flag> {
  return new Map(flags.flatMap(flag => [flag.name, ...(flag.aliases ?? [])].map(name => [name, flag] as const)))
}
