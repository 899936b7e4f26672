/** docs/commands.md against what the command line takes: everything that is there is told, and nothing is told that is not there. */

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { COMMANDS, NOT_BUILT_COMMANDS } from '../../src/cmd/commands.ts'
import { GLOBAL_FLAGS } from '../../src/cmd/flag-tables.ts'
import type { Flag } from '../../src/cmd/flags.ts'

const root = join(import.meta.dirname, '../..')
const text = readFileSync(join(root, 'docs/commands.md'), 'utf8')
const sections = new Map(
  text.split(/^## /m).map(part => {
    const end = part.indexOf('\n')
    return [part.slice(0, end), part.slice(end)] as const
  }),
)

/** Names, state and default of each option: what its row begins with. What it is for is said in words of its own. */
const rowOf = ({ name, aliases = [], refused, fallback, unit }: Flag): string => {
  const names = [name, ...aliases].map(each => `\`${each.length === 1 ? '-' : '--'}${each}\``).join(', ')
  const bare = unit === undefined ? [] : [`bare number: ${unit}`]
  const byDefault = [...(fallback === undefined ? [] : [fallback]), ...bare].join(', ')
  return `| ${names} | ${refused ? 'refused' : 'built'} | ${byDefault} |`
}
const rowsIn = (section: string | undefined): string[] =>
  [...(section ?? '').matchAll(/^(\| `-.*? \| .*? \| .*?\|)/gm)]
    .map(([, row]) => row!.replace(/\|\s+\|$/, '|  |'))
    .sort()

describe('docs/commands.md', () => {
  for (const { name, flags } of [{ name: 'Global options', flags: GLOBAL_FLAGS }, ...COMMANDS]) {
    it(`lists the options of ${name} as they are`, () => {
      assert.ok(sections.has(name), 'a section')
      assert.deepEqual(rowsIn(sections.get(name)), flags.map(rowOf).sort())
    })
  }

  it('has a section for each command, and names those that are not built', () => {
    const others = ['Global options', 'Commands that are not built', 'Environment']
    const told = [...sections.keys()].slice(1).filter(title => !others.includes(title))
    assert.deepEqual(told.sort(), COMMANDS.map(({ name }) => name).sort())
    const [refused = ''] = sections.get('Commands that are not built')!.split(':')
    assert.deepEqual([...refused.matchAll(/`(\w+)`/g)].map(([, name]) => name).sort(), [...NOT_BUILT_COMMANDS].sort())
  })
})

it('every variable of the environment that is read is documented', () => {
  const sourceFiles = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' }).filter(path =>
    path.endsWith('.ts'),
  )
  const read = sourceFiles.flatMap(path => {
    const found = readFileSync(join(root, 'src', path), 'utf8').matchAll(
      /\benv\.([A-Z][A-Z0-9_]+)\b|'(JFS_\w+|[A-Z]+_[A-Z_]*(?:KEY|ID|SECRET|TOKEN))'/g,
    )
    return [...found].map(([, property, name]) => property ?? name!)
  })
  for (const name of ['META_PASSWORD', 'JFS_RSA_PASSPHRASE', 'SCW_ACCESS_KEY']) assert.ok(read.includes(name), name)
  const documents = readdirSync(join(root, 'docs')).filter(name => name.endsWith('.md'))
  const told = documents.map(name => readFileSync(join(root, 'docs', name), 'utf8')).join('\n')
  const missing = [...new Set(read)].filter(name => !new RegExp(`\\b${name}\\b`).test(told))
  assert.deepEqual(missing, [])
})
