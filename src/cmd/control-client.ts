/** The client's side of `.control` (spec vfs section 8): one request, then progress and one terminal answer.
 *
 *      request   u32 opcode | u32 body length | body
 *      progress  FE | u64 a | u64 b
 *      data      FF | u32 length | JSON        terminal
 *      errno     one byte, 0 = success         terminal
 *
 *  Reading where nothing is yet returns 0 bytes: ask again, ever more seldom. */

import { existsSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { readU64 } from '../base/bytes.ts'
import { codeOf } from '../base/call.ts'
import { errnoText } from '../base/errno.ts'
import { CommandError } from './exit.ts'

export const OP_FILL_CACHE = 1004
export const OP_INFO = 1005
export const OP_SUMMARY = 1007
export const OP_COMPACT = 1008

const PROGRESS = 0xfe
const DATA = 0xff
const PROGRESS_BYTES = 17
const DATA_HEAD_BYTES = 5
const EINVAL = 22
const LONGEST_PAUSE_MS = 300
/** what a mount answers whose process is not there any more */
const GONE: ReadonlySet<string> = new Set(['ENOTCONN', 'ECONNABORTED'])

export type Reply =
  | { readonly kind: 'progress'; readonly bytes: number; readonly a: number; readonly b: number }
  | { readonly kind: 'data'; readonly json: string }
  | { readonly kind: 'errno'; readonly errno: number }

/** The first reply in `stream`, or null where it is not there as a whole yet. One byte that stands alone is the errno. */
export function parseReply(stream: Buffer): Reply | null {
  if (stream.length === 0) return null
  if (stream.length === 1 && stream[0] !== PROGRESS && stream[0] !== DATA) return { kind: 'errno', errno: stream[0]! }
  if (stream[0] === PROGRESS) {
    if (stream.length < PROGRESS_BYTES) return null
    return { kind: 'progress', bytes: PROGRESS_BYTES, a: readU64(stream, 1), b: readU64(stream, 9) }
  }
  if (stream[0] !== DATA)
    throw new CommandError(`the mount answered with an unknown frame 0x${stream[0]!.toString(16)}`)
  if (stream.length < DATA_HEAD_BYTES) return null
  const end = DATA_HEAD_BYTES + stream.readUInt32BE(1)
  return stream.length < end ? null : { kind: 'data', json: stream.toString('utf8', DATA_HEAD_BYTES, end) }
}

/** Sends a request to the mount that `directory` lies in. Returns its JSON, '' for a bare success. CommandError where there is no
 *  mount of ours, where it does not know the request, and for an errno. `onProgress` gets the two numbers of the request's kind. */
export async function ask(
  directory: string,
  opcode: number,
  body: Buffer,
  onProgress: (a: number, b: number) => void = () => {},
): Promise<string> {
  const file = await openControl(directory)
  try {
    const request = Buffer.alloc(8 + body.length)
    request.writeUInt32BE(opcode, 0)
    request.writeUInt32BE(body.length, 4)
    body.copy(request, 8)
    await file.write(request, 0, request.length, null)
    const piece = Buffer.alloc(1 << 16)
    let stream: Buffer = Buffer.alloc(0)
    for (let pauseMs = 1; ; ) {
      const { bytesRead } = await file.read(piece, 0, piece.length, null)
      if (bytesRead === 0) {
        await sleep(pauseMs)
        pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)
        continue
      }
      pauseMs = 1
      stream = Buffer.concat([stream, piece.subarray(0, bytesRead)])
      for (let reply = parseReply(stream); reply !== null; reply = parseReply(stream)) {
        if (reply.kind === 'data') return reply.json
        if (reply.kind === 'errno') return verdict(reply.errno)
        onProgress(reply.a, reply.b)
        stream = stream.subarray(reply.bytes)
      }
    }
  } catch (error) {
    if (GONE.has(codeOf(error) ?? '')) throw new CommandError(`the mount that serves ${directory} has ended`)
    throw error
  } finally {
    await file.close().catch(() => undefined) // nothing is written any more
  }
}

function verdict(errno: number): '' {
  if (errno === 0) return ''
  if (errno === EINVAL) throw new CommandError('the request is not supported, please upgrade and mount again')
  throw new CommandError(errnoText(errno))
}

const CONTROL_NAMES = ['.jfs.control', '.control']

/** Does the directory lie in a mount that answers requests? */
export const isInMount = (directory: string): boolean => CONTROL_NAMES.some(name => existsSync(join(directory, name)))

async function openControl(directory: string) {
  for (const name of CONTROL_NAMES) {
    try {
      return await open(join(directory, name), 'r+')
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error
    }
  }
  throw new CommandError(`${directory} is not inside a JuiceFS mount point`)
}
