/** What `.accesslog` says about a request: `method (arguments): result` (spec vfs section 9), made only while somebody reads
 *  it. The arguments are put into words before the file system is asked, since the request does not outlive that. */

import { type Name, nameToText } from '../base/bytes.ts'
import { ACCESSLOG_INO, type Ino, inoToString, isSpecial, isTrash } from '../base/ino.ts'
import { type Attr, S_IFMT_BY_TYPE } from '../meta/model/attr.ts'
import type { Context, Entry, Opened, Plock, Usage } from '../vfs/file-system.ts'
import type { Call } from './call.ts'
import * as K from './constants.ts'
import { type FuseRequest, lockOwnerAt } from './wire.ts'

export interface AccessLogHook {
  /** Is there a reader, or did it take so long that a line is wanted anyway? */
  wants(micros: number): boolean
  /** `endMs`: unix milliseconds */
  add(ctx: Context, what: string, errno: number, micros: number, endMs: number): void
}

export class AccessTrace {
  readonly #hook: AccessLogHook

  constructor(hook: AccessLogHook) {
    this.#hook = hook
  }

  /** Will every request be written down? */
  get isWanted(): boolean {
    return this.#hook.wants(0)
  }

  /** `value`: what the file system answered; undefined with an errno. */
  finished(name: string, call: Call, errno: number, value: unknown, micros: number): void {
    if (!this.#hook.wants(micros) || isUnspoken(call, value)) return
    const method =
      call.opcode === K.SETLK || call.opcode === K.SETLKW ? (call.described?.split(' ', 1)[0] ?? name) : name
    // A request that turned out slow while nobody read has no words but its inode.
    const given = call.described?.slice(call.described.indexOf('(')) ?? `(${inoToString(call.ino)})`
    const what = `${method} ${given}${resultText(call, errno === 0 ? value : undefined)}`
    this.#hook.add(call, what, errno, micros, performance.timeOrigin + performance.now())
  }
}

/** Reading the log must not fill it, and the client's own files are looked at all the time. */
function isUnspoken(call: Call, value: unknown): boolean {
  if (call.opcode === K.READ) return call.ino === ACCESSLOG_INO
  if (call.opcode === K.GETATTR) return isOwnFile(call.ino)
  return call.opcode === K.LOOKUP && value !== undefined && isOwnFile((value as Entry).ino)
}
const isOwnFile = (ino: Ino): boolean => isSpecial(ino) && !isTrash(ino)

/** The arguments in parentheses; before them the method where the operation has two. */
export function describeArguments(r: FuseRequest): string {
  const ino = inoToString(r.ino)
  const hex = (word: number): string => `0x${word.toString(16)}`
  const owner = (index: number): string => lockOwnerAt(r, index).toUpperCase()
  switch (r.opcode) {
    case K.LOOKUP:
    case K.UNLINK:
    case K.RMDIR:
    case K.REMOVEXATTR:
      return `(${ino},${quoted(r.name(0))})`
    case K.SYMLINK: {
      const [name, target] = r.names(0)
      return `(${ino},${quoted(name)},${quoted(target)})`
    }
    case K.MKNOD:
      return `(${ino},${quoted(r.name(16))},${modeText(r.word(0))}:0${octal(r.word(0))},${hex(r.word(1))})`
    case K.MKDIR:
      return `(${ino},${quoted(r.name(8))},${modeText(r.word(0))}:0${octal(r.word(0))})`
    case K.CREATE:
    case K.TMPFILE:
      return `(${ino},${quoted(r.name(16))},${modeText(r.word(1))}:0${octal(r.word(1))})`
    case K.LINK:
      return `(${inoToString(r.inoAt(0))},${ino},${quoted(r.name(8))})`
    case K.RENAME:
    case K.RENAME2: {
      const [from, to] = r.names(r.opcode === K.RENAME ? 8 : 16)
      const flags = r.opcode === K.RENAME ? 0 : r.word(2)
      return `(${ino},${quoted(from)},${inoToString(r.inoAt(0))},${quoted(to)},${flags})`
    }
    case K.SETATTR:
      return setattrText(r, ino)
    case K.ACCESS:
      return `(${ino},${hex(r.word(0))})`
    case K.OPEN:
      return `(${ino},${hex(r.word(0))})`
    case K.READ:
    case K.WRITE:
      return `(${ino},${r.word(4)},${r.wide(2)},${r.wide(0)})`
    case K.FLUSH:
      return `(${ino},${r.wide(0)},${owner(4)})`
    case K.RELEASE:
      return `(${ino},${r.wide(0)})`
    case K.FSYNC:
    case K.FSYNCDIR:
      return `(${ino},${r.word(2) & K.FSYNC_DATA_ONLY})`
    case K.FALLOCATE:
      return `(${ino},${r.word(6)},${r.wide(2)},${r.wide(4)})`
    case K.LSEEK:
      return `(${ino},${r.wide(2)},${r.word(4)},${r.wide(0)})`
    case K.COPY_FILE_RANGE:
    case K.COPY_FILE_RANGE_64:
      return `(${ino},${r.wide(2)},${inoToString(r.inoAt(4))},${r.wide(8)},${r.wide(10)},${r.word(12)})`
    case K.READDIR:
    case K.READDIRPLUS:
      return `(${ino},${r.word(4)},${r.wide(2)},${r.opcode === K.READDIRPLUS})`
    case K.SETXATTR: {
      const [name] = r.names(16)
      return `(${ino},${quoted(name)},${r.word(0)},${r.word(1)})`
    }
    case K.GETXATTR:
      return `(${ino},${quoted(r.name(8))},${r.word(0)})`
    case K.LISTXATTR:
      return `(${ino},${r.word(0)})`
    case K.GETLK:
      return `(${ino},${r.wide(0)},${owner(2)})`
    case K.SETLK:
    case K.SETLKW:
      return lockText(r, ino, owner(2))
    case K.IOCTL:
      return `(${ino},${hex(r.word(3))},${hex(r.word(4))},${r.word(6)},${r.word(7)})`
    default:
      return `(${ino})`
  }
}

function setattrText(r: FuseRequest, ino: string): string {
  const valid = r.word(0)
  const set: string[] = []
  if (valid & K.FATTR_MODE) set.push(`mode=${modeText(r.word(17) & 0o7777)}:0${octal(r.word(17) & 0o7777)}`)
  if (valid & K.FATTR_UID) set.push(`uid=${r.word(19)}`)
  if (valid & K.FATTR_GID) set.push(`gid=${r.word(20)}`)
  if (valid & K.FATTR_ATIME) set.push(`atime=${valid & K.FATTR_ATIME_NOW ? 'NOW' : r.signed(8)}`)
  if (valid & K.FATTR_MTIME) set.push(`mtime=${valid & K.FATTR_MTIME_NOW ? 'NOW' : r.signed(10)}`)
  if (valid & K.FATTR_SIZE) set.push(`size=${r.wide(4)}`)
  const handle = valid & K.FATTR_FH ? `[${r.wide(2)}]` : ''
  return `(${ino}${handle},0x${valid.toString(16)},[${set.join(',')}])`
}

function lockText(r: FuseRequest, ino: string, owner: string): string {
  const waits = r.opcode === K.SETLKW
  const type = r.word(8)
  if (r.word(10) & K.LK_FLOCK)
    return `flock (${ino},${r.wide(0)},${owner},${['LOCKSH', 'LOCKEX', 'UNLOCK'][type]},${waits})`
  const letter = ['R', 'W', 'U'][type]
  return `setlk (${ino},${r.wide(0)},${owner},${r.wide(4)},${r.wide(6)},${letter},${waits},${r.word(9)})`
}

/** What follows the arguments; `value` undefined: it failed. */
function resultText(call: Call, value: unknown): string {
  switch (call.opcode) {
    case K.LOOKUP:
    case K.MKNOD:
    case K.MKDIR:
    case K.SYMLINK:
    case K.LINK:
      return `:${value === undefined ? '' : entryText((value as Entry).ino, (value as Entry).attr)}`
    case K.CREATE:
    case K.TMPFILE: {
      if (value === undefined) return ':'
      const { ino, attr, fh } = value as Entry & Opened
      return `:${entryText(ino, attr)} [fh:${fh}]`
    }
    case K.GETATTR:
    case K.SETATTR:
      return `:${value === undefined ? '' : entryText(call.ino, value as Attr)}`
    case K.OPEN:
    case K.OPENDIR:
      return value === undefined ? '' : ` [fh:${(value as Opened).fh}]`
    case K.READLINK:
      return `: (${value === undefined ? '' : quoted(value as Name)})`
    case K.READDIR:
    case K.READDIRPLUS:
      return `: (${call.page?.count ?? 0})`
    case K.READ: {
      const bytes = ((value ?? []) as readonly Buffer[]).reduce((sum, view) => sum + view.length, 0)
      return isOwnFile(call.ino) ? `: ${bytes}` : `: (${bytes})`
    }
    case K.GETXATTR:
      return `: (${value === undefined ? 0 : (value as Buffer).length})`
    case K.LISTXATTR:
      return `: (${((value ?? []) as readonly Name[]).reduce((sum, name) => sum + name.length + 1, 0)})`
    case K.GETLK: {
      if (value === undefined) return ': (0,0,U,0)'
      const lock = value as Plock
      return `: (${lock.start},${lock.end - lock.start + 1},${lock.type},${lock.pid})`
    }
    case K.STATFS: {
      if (value === undefined) return ''
      const usage = value as Usage
      return `: (${usage.total - usage.available},${usage.available},${usage.usedInodes},${usage.availableInodes})`
    }
    default:
      return ''
  }
}

/** ` (inode,[mode:0octal,nlink,uid,gid,atime,mtime,ctime,length])` */
function entryText(ino: Ino, attr: Attr): string {
  const mode = S_IFMT_BY_TYPE[attr.type]! | attr.mode
  const times = `${attr.atime.sec},${attr.mtime.sec},${attr.ctime.sec}`
  return ` (${inoToString(ino)},[${modeText(mode)}:0${octal(mode).padStart(6, '0')},${attr.nlink},${attr.uid},${attr.gid},${times},${attr.length}])`
}

const octal = (mode: number): string => mode.toString(8).padStart(4, '0')

const TYPE_LETTERS: ReadonlyMap<number, string> = new Map([
  [0o100000, '-'],
  [0o040000, 'd'],
  [0o120000, 'l'],
  [0o020000, 'c'],
  [0o060000, 'b'],
  [0o140000, 's'],
  [0o010000, 'f'],
])

/** As `ls -l` shows a mode; `?` where it names no type. */
function modeText(mode: number): string {
  let text = TYPE_LETTERS.get(mode & 0o170000) ?? '?'
  for (const [shift, special, letter] of [
    [6, 0o4000, 's'],
    [3, 0o2000, 's'],
    [0, 0o1000, 't'],
  ] as const) {
    const bits = (mode >> shift) & 7
    const executes = (bits & 1) !== 0
    text += bits & 4 ? 'r' : '-'
    text += bits & 2 ? 'w' : '-'
    if (mode & special) text += executes ? letter : letter.toUpperCase()
    else text += executes ? 'x' : '-'
  }
  return text
}

const ESCAPES: Record<string, string> = {
  '"': '\\"',
  '\\': '\\\\',
  '\x07': '\\a',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\v': '\\v',
}

/** A name with control characters or quotes is written as Go quotes it, without the quotes around. */
function quoted(name: Name): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is looked for
  if (!/["\x00-\x1f\x7f]/.test(name)) return nameToText(name)
  return nameToText(name).replace(
    // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is replaced
    /["\\\x00-\x1f\x7f]/g,
    character => ESCAPES[character] ?? `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`,
  )
}
