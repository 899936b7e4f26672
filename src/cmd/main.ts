/** The command line's beginning: argv, log level, one command, exit code. Nothing heavy is imported here: `version` answers
 *  within the time that Node needs to start. */

import { codeOf } from '../base/call.ts'
import type { Level } from '../base/log.ts'
import { COMMANDS, NOT_BUILT_COMMANDS } from './commands.ts'
import { CommandError, EXIT_FAILED, EXIT_UNKNOWN_COMMAND, messageOf } from './exit.ts'
import { GLOBAL_FLAGS } from './flag-tables.ts'
import { checkFlags, Options, parseArgv } from './flags.ts'
import { maskPassword } from './meta-url.ts'
import { log, setLog } from './terminal-log.ts'
import { versionLine } from './version.ts'

const say = (text: string): void => void process.stdout.write(`${text}\n`)

async function main(argv: readonly string[]): Promise<number> {
  if (!process.env.CALL_VIA_MOUNT) return runCommandLine(argv)
  const { helperArguments } = await import('./mount-helper.ts')
  const asked = helperArguments(argv)
  return asked?.isFake ? 0 : runCommandLine(asked?.argv ?? [])
}

async function runCommandLine(argv: readonly string[]): Promise<number> {
  if (argv.at(-1) === '--generate-bash-completion') {
    for (const { name } of COMMANDS) say(name)
    return 0
  }
  const parsed = parseArgv(argv, GLOBAL_FLAGS, name => COMMANDS.find(command => command.name === name)?.flags)
  checkFlags(GLOBAL_FLAGS, parsed.globals)
  const globals = new Options(GLOBAL_FLAGS, parsed.globals)
  const id = globals.string('log-id')
  setLog({
    level: levelOf(globals),
    id: id === 'random' ? crypto.randomUUID() : id,
    colour: !globals.bool('no-color'),
  })
  if (globals.bool('version')) {
    say(versionLine())
    return 0
  }
  // `help` alone, or with the name of a command.
  const isHelp = parsed.command === 'help' || parsed.command === 'h'
  const wanted = isHelp ? parsed.args[0] : parsed.command
  if (wanted === undefined) {
    const { generalHelp } = await import('./help.ts')
    say(generalHelp())
    return 0
  }
  const command = COMMANDS.find(({ name }) => name === wanted)
  if (!command) {
    if (NOT_BUILT_COMMANDS.has(wanted)) throw new CommandError(`${wanted} is not supported yet`)
    process.stderr.write(`No help topic for '${wanted}'\n`)
    return EXIT_UNKNOWN_COMMAND
  }
  if (isHelp || globals.bool('help')) {
    const { commandHelp } = await import('./help.ts')
    say(commandHelp(command))
    return 0
  }
  const { args } = parsed
  if (args.length < command.minArgs || args.length > command.maxArgs) {
    const few = `ERROR: This command requires at least ${command.minArgs} arguments`
    const many = `ERROR: This command accept at most ${command.maxArgs} arguments but got [${args.map(maskPassword).join(' ')}]`
    say(args.length < command.minArgs ? few : many)
    say(`USAGE:\n   juicefs-ts ${command.name} [command options] ${command.argsUsage}`)
    return EXIT_FAILED
  }
  checkFlags(command.flags, parsed.given)
  const loaded = await command.run()
  return loaded.run(new Options(command.flags, parsed.given), args)
}

const LEVEL_NAMES: Readonly<Record<string, Level>> = {
  trace: 'TRACE',
  debug: 'DEBUG',
  info: 'INFO',
  warn: 'WARNING',
  warning: 'WARNING',
  error: 'ERROR',
  fatal: 'FATAL',
  panic: 'FATAL',
}

function levelOf(globals: Options): Level {
  const named = LEVEL_NAMES[globals.string('log-level').toLowerCase()]
  if (named) return named
  if (globals.bool('trace')) return 'TRACE'
  return globals.bool('verbose') ? 'DEBUG' : globals.bool('quiet') ? 'WARNING' : 'INFO'
}

// Whoever read our output may have left (`mount -d … | head -1`): the work goes on. What cannot be written otherwise was asked for
// in vain; a log is not what was asked for.
process.stderr.on('error', () => {})
process.stdout.on('error', error => {
  if (codeOf(error) === 'EPIPE') return
  log().fatal(`standard output: ${messageOf(error)}`)
  process.exit(EXIT_FAILED)
})

// `ps` must not show the password of a META-URL while we run.
if (process.argv.some(arg => arg !== maskPassword(arg)))
  process.title = ['juicefs-ts', ...process.argv.slice(2).map(maskPassword)].join(' ')

main(process.argv.slice(2)).then(
  // A failed write tells of itself one turn later.
  code => setImmediate(() => process.exit(code)),
  (error: unknown) => {
    const isExpected = error instanceof CommandError || (error as Error | null)?.name === 'Fault'
    if (!isExpected) log().debug(error instanceof Error ? (error.stack ?? '') : '')
    log().fatal(messageOf(error))
    process.exit(error instanceof CommandError ? error.code : EXIT_FAILED)
  },
)
