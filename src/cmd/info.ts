/** `info PATH…`: what a file is made of, asked of the mount that serves it (spec cli section 7.2). */

import { lstatSync, realpathSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { ask, isInMount, OP_INFO } from './control-client.ts'
import { CommandError, EXIT_FAILED, messageOf } from './exit.ts'
import type { Options } from './flags.ts'
import { bytesBothWays } from './humanize.ts'
import { renderTable } from './table.ts'
import { log as terminalLog } from './terminal-log.ts'

type Digits = string | number
interface Piece {
  readonly ChunkIndex: Digits
  readonly Id?: Digits
  readonly Key?: string
  readonly Size: Digits
  readonly Off: Digits
  readonly Len: Digits
}
interface Lock {
  readonly Sid: Digits
  readonly Owner: Digits
  readonly Type: Digits
  readonly Pid?: Digits
  readonly Start?: Digits
  readonly End?: Digits
}
/** Numbers are their digits as sent: inodes and lock owners may exceed what a double holds. */
export interface Info {
  readonly Ino: Digits
  readonly Failed: boolean
  readonly Reason: string
  readonly Summary: { readonly Length: Digits; readonly Size: Digits; readonly Files: Digits; readonly Dirs: Digits }
  readonly Paths: readonly string[] | null
  readonly Chunks: readonly Piece[] | null
  readonly Objects: readonly Piece[] | null
  readonly FLocks: readonly Lock[] | null
  readonly PLocks: readonly Lock[] | null
  readonly Tier?: { readonly ID: Digits; readonly StorageClass: string; readonly Tag: string }
  readonly RestoreStatus?: string
}

export async function run(options: Options, args: readonly string[]): Promise<number> {
  let code = 0
  for (const arg of args) {
    try {
      const { ino, directory } = options.bool('inode') ? { ino: inodeOf(arg), directory: process.cwd() } : find(arg)
      const body = Buffer.alloc(11)
      body.writeBigUInt64BE(ino, 0)
      body[8] = options.bool('recursive') ? 1 : 0
      body[9] = options.bool('raw') ? 1 : 0
      body[10] = options.bool('strict') ? 1 : 0
      const info = parseInfo(await ask(directory, OP_INFO, body))
      if (info.Failed) throw new CommandError(info.Reason)
      process.stdout.write(renderInfo(arg, info, options.bool('raw')))
    } catch (error) {
      terminalLog().error(`info: ${arg}: ${messageOf(error)}`)
      code = EXIT_FAILED
    }
  }
  return code
}

function inodeOf(text: string): bigint {
  if (!/^\d{1,20}$/.test(text)) throw new CommandError('is not an inode number')
  return BigInt(text)
}

function find(path: string): { ino: bigint; directory: string } {
  const full = resolve(path)
  const stat = lstatSync(full, { bigint: true })
  // A link inside a mount is a file like others; one outside is a way to what it points to.
  if (stat.isSymbolicLink() && !isInMount(dirname(full))) return find(realpathSync(full))
  return { ino: stat.ino, directory: stat.isDirectory() ? full : dirname(full) }
}

export function parseInfo(json: string): Info {
  const keepDigits = (_key: string, value: unknown, context?: { source?: string }): unknown =>
    typeof value === 'number' && !Number.isSafeInteger(value) ? (context?.source ?? value) : value
  return JSON.parse(json, keepDigits as (key: string, value: unknown) => unknown) as Info
}

export function renderInfo(name: string, info: Info, raw: boolean): string {
  const { Summary: sum, Paths: paths, Tier: tier } = info
  const lines = [`${name} :`, `  inode: ${info.Ino}`, `  files: ${sum.Files}`, `   dirs: ${sum.Dirs}`]
  lines.push(` length: ${bytesBothWays(Number(sum.Length))}`, `   size: ${bytesBothWays(Number(sum.Size))}`)
  if (!paths || paths.length === 0) lines.push('   path: unknown')
  else if (paths.length === 1) lines.push(`   path: ${paths[0]}`)
  else lines.push('  paths:', ...paths.map(path => `\t${path}`))
  if (tier) {
    const tags = tier.Tag ? ` tag: ${tier.Tag}` : ''
    lines.push(`   tier: ${tier.ID}->${tier.StorageClass}${tags} `)
  }
  if (info.RestoreStatus) lines.push(`   restore status: ${info.RestoreStatus}`)
  let text = `${lines.join('\n')}\n`
  if (raw && info.Chunks?.length) {
    const rows = info.Chunks.map(({ ChunkIndex, Id, Size, Off, Len }) =>
      [ChunkIndex, Id ?? 0, Size, Off, Len].map(String),
    )
    text += ` chunks:\n${renderTable([['chunkIndex', 'sliceId', 'size', 'offset', 'length'], ...rows])}`
  } else if (!raw && info.Objects?.length) {
    const rows = placed(info.Objects).map(({ ChunkIndex, Key, Size, Off, Len, pos }) =>
      [ChunkIndex, Key ?? '', Size, Off, Len, pos].map(String),
    )
    const header = ['chunkIndex', 'objectName', 'size', 'offset', 'length', 'pos']
    text += ` objects:\n${renderTable([header, ...rows], { leftColumn: 1 })}`
  }
  if (info.FLocks?.length) {
    const rows = info.FLocks.map(({ Sid, Owner, Type }) => [Sid, Owner, Type].map(String))
    text += ` flocks:\n${renderTable([['Sid', 'Owner', 'Type'], ...rows])}`
  }
  if (info.PLocks?.length) {
    const rows = info.PLocks.map(lock => [
      String(lock.Sid),
      String(lock.Owner),
      Number(lock.Type) === 1 ? 'W' : 'R',
      ...[lock.Pid, lock.Start, lock.End].map(String),
    ])
    text += ` plocks:\n${renderTable([['Sid', 'Owner', 'Type', 'Pid', 'Start', 'End'], ...rows])}`
  }
  return text
}

/** With the position of each piece in its chunk: pieces, holes among them, come one behind the other. */
function placed(pieces: readonly Piece[]): (Piece & { readonly pos: number })[] {
  let [chunk, end]: [Digits, number] = [-1, 0]
  return pieces.map(piece => {
    const pos = piece.ChunkIndex === chunk ? end : 0
    ;[chunk, end] = [piece.ChunkIndex, pos + Number(piece.Len)]
    return { ...piece, pos }
  })
}
