/** `summary PATH`: what is below a directory, the biggest first, asked of the mount that serves it (spec cli section 7.15). */

import { realpathSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { type Errno, errnoText } from '../base/errno.ts'
import { ask, OP_SUMMARY } from './control-client.ts'
import { CommandError, messageOf } from './exit.ts'
import type { Options } from './flags.ts'
import { bytesText } from './humanize.ts'
import { withLine } from './progress.ts'
import { renderTable } from './table.ts'
import { log as terminalLog } from './terminal-log.ts'

const MOST_LEVELS = 10
const MOST_ENTRIES = 100
const TYPE_DIRECTORY = 2

export interface SummaryNode {
  readonly Path: string
  readonly Type: number
  readonly Size: number
  readonly Files: number
  readonly Dirs: number
  readonly Children?: readonly SummaryNode[]
}

export async function run(options: Options, [path = '']: readonly string[]): Promise<number> {
  const depth = atMost(options, 'depth', MOST_LEVELS)
  const entries = atMost(options, 'entries', MOST_ENTRIES)
  const full = resolve(path)
  let stat: { readonly ino: bigint; isDirectory(): boolean }
  try {
    stat = statSync(full, { bigint: true })
  } catch (error) {
    throw new CommandError(messageOf(error))
  }
  const body = Buffer.alloc(11)
  body.writeBigUInt64BE(stat.ino, 0)
  body[8] = depth
  body[9] = entries
  body[10] = options.bool('strict') ? 1 : 0
  let [files, bytes] = [0, 0]
  const asked = (): Promise<string> =>
    ask(stat.isDirectory() ? full : dirname(realpathSync(full)), OP_SUMMARY, body, (a, b) => {
      ;[files, bytes] = [a, b]
    })
  const json = await withLine(() => `Scanned entries: ${files}   Scanned size: ${bytesText(bytes)}`, asked)
  const answer = JSON.parse(json) as { readonly Errno: Errno; readonly Tree: SummaryNode }
  if (answer.Errno !== 0) throw new CommandError(`summary ${path}: ${errnoText(answer.Errno)}`)
  process.stdout.write(options.bool('csv') ? renderCsv(answer.Tree) : renderSummary(answer.Tree))
  return 0
}

function atMost(options: Options, flag: string, most: number): number {
  const value = options.number(flag)
  if (value <= most) return value
  terminalLog().warn(`${flag} should be less than or equal to ${most}`)
  return most
}

const HEADER = ['PATH', 'SIZE', 'DIRS', 'FILES']

export const renderSummary = (tree: SummaryNode): string =>
  renderTable([HEADER, ...rowsOf(tree, bytesText)], { leftColumn: 0 })

/** Sizes are plain bytes; a path with a comma, a quote or a line break stands in quotes (RFC 4180). */
export const renderCsv = (tree: SummaryNode): string =>
  [HEADER, ...rowsOf(tree, String)].map(row => `${row.map(quoted).join(',')}\n`).join('')

const quoted = (cell: string): string => (/[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell)

/** The directory itself as `/`, those below it with a slash at the end; a single file as `.`. */
function rowsOf(node: SummaryNode, sizeText: (bytes: number) => string): string[][] {
  const slash = node.Type === TYPE_DIRECTORY ? '/' : ''
  const row = [`${node.Path}${slash}` || '.', sizeText(node.Size), String(node.Dirs), String(node.Files)]
  return [row, ...(node.Children ?? []).flatMap(child => rowsOf(child, sizeText))]
}
