import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { COMMANDS } from '../../src/cmd/commands.ts'
import { BENCH_FLAGS, GLOBAL_FLAGS, MOUNT_FLAGS, UMOUNT_FLAGS } from '../../src/cmd/flag-tables.ts'
import { checkFlags, type Flag, Options, parseArgv, parseValue } from '../../src/cmd/flags.ts'
import { OUR_VERSION } from '../../src/cmd/version.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const flagsOf = (name: string): readonly Flag[] | undefined => COMMANDS.find(command => command.name === name)?.flags
const parse = (...argv: string[]) => parseArgv(argv, GLOBAL_FLAGS, flagsOf)

describe('argv', () => {
  it('takes flags before, between and after arguments, with one dash or two', () => {
    for (const argv of [
      ['bench', '--threads', '4', '/mnt'],
      ['bench', '/mnt', '-threads=4'],
      ['bench', '-p', '4', '/mnt'],
      ['--threads', '4', 'bench', '/mnt'].slice(2).concat('--threads', '4'),
    ]) {
      const { command, args, given } = parse(...argv)
      assert.deepEqual([command, args, given.get('threads')], ['bench', ['/mnt'], '4'], argv.join(' '))
    }
  })
  it('takes global flags anywhere', () => {
    for (const argv of [
      ['-v', '--log-id', 'x', 'bench', '/mnt'],
      ['bench', '/mnt', '--log-id=x', '-v'],
    ]) {
      const { command, args, globals } = parse(...argv)
      assert.deepEqual(
        [command, args, [...globals].sort()],
        [
          'bench',
          ['/mnt'],
          [
            ['log-id', 'x'],
            ['verbose', 'true'],
          ],
        ],
      )
    }
  })
  it('gives a command its own flag where a global one has the same name', () => {
    assert.equal(parse('umount', '-f', '/mnt').given.get('force'), 'true')
    assert.equal(parse('mount', '-d', 'u', '/mnt').given.get('background'), 'true')
  })
  it('reads booleans with and without a value', () => {
    const flag = UMOUNT_FLAGS[0]!
    const value = (text: string): unknown => parseValue(flag, parse('umount', text, '/mnt').given.get('force')!)
    assert.deepEqual([value('--force'), value('--force=true'), value('--force=false')], [true, true, false])
  })
  it('takes a value that begins with a dash', () => {
    assert.equal(parse('format', '--trash-days', '-1', 'u', 'n').given.get('trash-days'), '-1')
  })
  it('names the unknown option, and the one without its value', () => {
    assert.throws(() => parse('format', '-abc', 'u'), /unknown option: "-abc"/)
    assert.throws(() => parse('format', '--secret-kay=hidden', 'u'), /unknown option: "--secret-kay"$/)
    assert.throws(() => parse('bench', '/mnt', '--threads'), /option "--threads" requires value/)
    assert.throws(() => parse('--log-id'), /option "--log-id" requires value/)
  })
})

describe('flags', () => {
  const check = (flags: readonly Flag[], name: string, text: string) => () => checkFlags(flags, new Map([[name, text]]))

  it('that are not built are refused by name, unless they ask for nothing', () => {
    assert.throws(check(MOUNT_FLAGS, 'backup-skip-trash', 'true'), /--backup-skip-trash is not supported yet/)
    assert.doesNotThrow(check(MOUNT_FLAGS, 'backup-skip-trash', 'false'))
  })
  it('with values that cannot be read are refused before anything runs', () => {
    assert.throws(check(MOUNT_FLAGS, 'heartbeat', 'soon'), /Invalid duration value: soon/)
    assert.throws(check(BENCH_FLAGS, 'threads', '-1'), /Invalid value "-1" for "threads"/)
    assert.throws(check(BENCH_FLAGS, 'block-size', '1X'), /invalid unit/)
  })
  it('have fallbacks that can be read', () => {
    for (const flag of [...GLOBAL_FLAGS, ...COMMANDS.flatMap(command => command.flags)]) {
      assert.doesNotThrow(() => parseValue(flag, flag.fallback ?? ''), flag.name)
    }
    const options = new Options(MOUNT_FLAGS, new Map())
    assert.equal(options.number('cache-size'), 100 * 2 ** 30)
    assert.equal(options.number('cache-mode'), 0o600)
    assert.equal(options.number('heartbeat'), 12_000)
  })
  it('have no name twice in a command', () => {
    for (const { name, flags } of COMMANDS) {
      const names = flags.flatMap(flag => [flag.name, ...(flag.aliases ?? [])])
      assert.equal(new Set(names).size, names.length, name)
    }
  })
})

it('the version is that of the package', () => {
  assert.equal(
    OUR_VERSION,
    (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }).version,
  )
})
