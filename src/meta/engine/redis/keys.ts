/** How keys and members are spelled (spec meta-redis section 2). The prefix is empty, or `{db}` in a cluster: there it is
 *  the hash tag that keeps a volume in one slot. */

import { type Ino, inoFromString, inoToString } from '../../../base/ino.ts'
import { type CounterName, QUOTA_DIR, QUOTA_USER, type QuotaType } from '../../facts.ts'

export class Keys {
  readonly prefix: string
  readonly setting: string
  readonly allSessions: string
  readonly sessionInfos: string
  /** of clients before 1.0: never prefixed, so a cluster has none */
  readonly legacySessions: string | null
  readonly deadFiles: string
  readonly sliceRefs: string
  readonly trashedSlices: string
  readonly acl: string
  readonly aclMaxId: string
  readonly dirLength: string
  readonly dirSpace: string
  readonly dirInodes: string

  constructor(prefix: string) {
    this.prefix = prefix
    this.setting = `${prefix}setting`
    this.allSessions = `${prefix}allSessions`
    this.sessionInfos = `${prefix}sessionInfos`
    this.legacySessions = prefix === '' ? 'sessions' : null
    this.deadFiles = `${prefix}delfiles`
    this.sliceRefs = `${prefix}sliceRef`
    this.trashedSlices = `${prefix}delSlices`
    this.acl = `${prefix}acl`
    this.aclMaxId = `${prefix}aclMaxId`
    this.dirLength = `${prefix}dirDataLength`
    this.dirSpace = `${prefix}dirUsedSpace`
    this.dirInodes = `${prefix}dirUsedInodes`
  }

  readonly node = (ino: Ino): string => `${this.prefix}i${inoToString(ino)}`
  readonly entries = (ino: Ino): string => `${this.prefix}d${inoToString(ino)}`
  readonly parents = (ino: Ino): string => `${this.prefix}p${inoToString(ino)}`
  readonly symlink = (ino: Ino): string => `${this.prefix}s${inoToString(ino)}`
  readonly xattrs = (ino: Ino): string => `${this.prefix}x${inoToString(ino)}`
  readonly flocks = (ino: Ino): string => `${this.prefix}lockf${inoToString(ino)}`
  readonly plocks = (ino: Ino): string => `${this.prefix}lockp${inoToString(ino)}`
  /** begins the keys of all chunks of a file */
  readonly chunks = (ino: Ino): string => `${this.prefix}c${inoToString(ino)}_`
  readonly chunk = (ino: Ino, index: number): string => `${this.chunks(ino)}${index}`
  /** names of the lock hashes that a session has touched */
  readonly locked = (sid: number): string => `${this.prefix}locked${sid}`
  readonly sustained = (sid: number): string => `${this.prefix}session${sid}`
  readonly counter = (name: CounterName): string =>
    this.prefix + (name === 'nextInode' || name === 'nextChunk' || name === 'nextSession' ? name.toLowerCase() : name)

  /** the hashes of limits, used space and used inodes */
  quota(type: QuotaType): readonly [limits: string, space: string, inodes: string] {
    const hash = `${this.prefix}${type === QUOTA_DIR ? 'dir' : type === QUOTA_USER ? 'user' : 'group'}Quota`
    return [hash, `${hash}UsedSpace`, `${hash}UsedInodes`]
  }
}

/** A directory's quota is keyed by its inode, others by uid and gid. */
export const quotaField = (type: QuotaType, key: number): string =>
  type === QUOTA_DIR ? inoToString(key as Ino) : String(key)
export const sliceField = (id: number, size: number): string => `k${id}_${size}`
export const trashedField = (id: number, at: number): string => `${id}_${at}`
export const deadMember = (ino: Ino, length: number): string => `${inoToString(ino)}:${length}`
/** Lock owners are 16 hex digits, in upper case here. */
export const lockField = (sid: number, owner: string): string => `${sid}_${owner.toUpperCase()}`

/** `<sid>_<owner>` taken apart; null where it is something else. */
export function parseLockField(field: string): { readonly sid: number; readonly owner: string } | null {
  const match = /^(\d+)_([0-9A-Fa-f]{1,16})$/.exec(field)
  return match ? { sid: Number(match[1]), owner: match[2]!.toLowerCase().padStart(16, '0') } : null
}

/** `<a><separator><b>` of two numbers, the first of which may be an inode of the trash. */
export function parsePair(text: string, separator: ':' | '_'): { readonly first: Ino; readonly second: number } | null {
  const at = text.indexOf(separator)
  const first = inoFromString(text.slice(0, Math.max(at, 0)))
  const second = text.slice(at + 1)
  return first === null || !/^\d{1,20}$/.test(second) ? null : { first, second: Number(second) }
}
