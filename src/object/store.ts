/** An object store: bytes under keys, nothing more. Every back end keeps this interface, every wrapper (prefix, retry,
 *  encryption …) takes one and is one, and one conformance suite holds for all (spec data-objects section 5).
 *
 *  Keys are `/`-separated ASCII. Errors are thrown as Fault; a missing object is `null` or ObjectMissing, never a Fault. */

import { ENOENT } from '../base/errno.ts'
import { Fault } from '../base/fault.ts'

export interface ObjectInfo {
  readonly key: string
  readonly size: number
  /** unix milliseconds */
  readonly mtimeMs: number
  readonly isDirectory: boolean
}

export class ObjectMissing extends Fault {
  constructor(key: string, cause?: unknown) {
    super(`object ${key} does not exist`, { errno: ENOENT, cause })
    this.name = 'ObjectMissing'
  }
}

/** The store was reached, understood, and does not serve us: keys, permissions, no such bucket. Soon again will not help. */
export class Refused extends Fault {
  constructor(doing: string, cause: unknown) {
    super(doing, { cause })
    this.name = 'Refused'
  }
}

/** No connection: the name has no address, nobody listens there, or nobody answers. */
export class Unreachable extends Fault {
  constructor(server: string, cause: unknown) {
    super(`connect to ${server}`, { cause })
    this.name = 'Unreachable'
  }
}

/** The object is there, and cannot be opened with our key: it is damaged, or sealed with another one. */
export class Undecryptable extends Fault {}

export interface ByteRange {
  readonly offset: number
  readonly length: number
}

/** Objects that are files, each holding exactly the bytes of its object: for who wants to look at them where they lie. Nobody but the
 *  store ever writes or removes one. */
export interface ObjectFiles {
  /** that hold all of them, each with a slash at its end: one, or one a shard */
  readonly directories: readonly string[]
  /** Where the object lies if there is one. Throws a Fault for a key that no object can have. */
  pathOf(key: string): string
}

export interface ObjectStore {
  /** `file:///var/jfs/myvol/`, for messages; no secret in it */
  readonly description: string
  /** what the store can take, so that callers need not guess */
  readonly limits: {
    readonly rangeReads: boolean
    readonly maxListPage: number
    /** A put has a copy of its body as long as it lasts. */
    readonly copiesBodies?: boolean
  }
  /** Absent: objects are no files, or hold something else than what `get` gives. The same ones until the store is exchanged. */
  readonly files?: ObjectFiles | undefined
  /** The whole object, or `length` bytes from `offset` (fewer where it ends). Throws ObjectMissing. The bytes are frozen: they may
   *  be the store's own, and stay as they are for as long as anybody looks at them. `expectedBytes`: a guess at the length of the
   *  whole object, for stores that must find memory before they know it. */
  get(key: string, range?: ByteRange, expectedBytes?: number): Promise<Buffer>
  /** Visible all at once, readable at once. `body` is borrowed until the promise settles. */
  put(key: string, body: Buffer): Promise<void>
  /** A missing object is success. */
  delete(key: string): Promise<void>
  head(key: string): Promise<ObjectInfo | null>
  /** Keys that begin with `prefix`, strictly after `marker`, ascending by bytes, at most `limit`. */
  list(prefix: string, marker: string, limit: number): Promise<ObjectInfo[]>
  /** Makes the bucket or base directory where there is none. */
  create(): Promise<void>
  /** Returns when these objects (put before) survive a power cut. Absent: they do as soon as `put` returns. */
  sync?: ((keys: readonly string[]) => Promise<void>) | undefined
  close(): Promise<void>
}
