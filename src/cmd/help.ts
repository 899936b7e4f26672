/** `--help`: NAME, USAGE, CATEGORY, DESCRIPTION, OPTIONS (grouped), from the tables of flags. */

import { COMMANDS } from './commands.ts'
import { GLOBAL_FLAGS } from './flag-tables.ts'
import type { Command, Flag } from './flags.ts'
import { SHOWN_VERSION } from './version.ts'

export function generalHelp(): string {
  const lines = ['NAME:', '   juicefs-ts - a POSIX file system on a metadata engine and an object store', '', 'USAGE:']
  lines.push(
    '   juicefs-ts [global options] command [command options] [arguments...]',
    '',
    'VERSION:',
    `   ${SHOWN_VERSION}`,
    '',
    'COMMANDS:',
  )
  for (const category of ['ADMIN', 'INSPECTOR', 'SERVICE', 'TOOL'] as const) {
    lines.push(`   ${category}:`)
    for (const { name, summary } of COMMANDS.filter(command => command.category === category))
      lines.push(`     ${name.padEnd(10)}${summary}`)
  }
  lines.push('', 'GLOBAL OPTIONS:', ...flagLines(GLOBAL_FLAGS))
  return lines.join('\n')
}

export function commandHelp(command: Command): string {
  const lines = ['NAME:', `   juicefs-ts ${command.name} - ${command.summary}`, '', 'USAGE:']
  lines.push(
    `   juicefs-ts ${command.name} [command options] ${command.argsUsage}`,
    '',
    'CATEGORY:',
    `   ${command.category}`,
  )
  lines.push('', 'DESCRIPTION:', `   ${command.summary}. docs/commands.md says which options are built.`)
  if (command.flags.length > 0) lines.push('', 'OPTIONS:')
  const categories = new Set(command.flags.map(flag => flag.category))
  for (const category of categories) {
    if (category !== undefined) lines.push('', `   ${category}`, '')
    lines.push(...flagLines(command.flags.filter(flag => flag.category === category)))
  }
  lines.push('   --help, -h                             show help')
  return lines.join('\n')
}

function flagLines(flags: readonly Flag[]): string[] {
  return flags
    .filter(flag => !flag.hidden)
    .map(flag => {
      const names = [flag.name, ...(flag.aliases ?? [])]
        .map(name => (name.length === 1 ? `-${name}` : `--${name}`))
        .join(', ')
      const fallback = flag.fallback === undefined ? '' : ` (default: ${flag.fallback})`
      const note = flag.refused ? ' [not supported yet]' : ''
      return `   ${`${names}${flag.kind === 'bool' ? '' : ' value'}`.padEnd(39)}${flag.help}${fallback}${note}`
    })
}
