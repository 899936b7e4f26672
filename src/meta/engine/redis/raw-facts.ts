/** The bytes that facts were decoded from, kept beside them: a commit compares what is stored now with what was read, byte by
 *  byte, also those bytes and digits that a fact cannot hold (unknown fields of a newer client, numbers beyond 2^53).
 *  Facts that are no objects (absence, numbers, texts) say everything themselves. */

import type { Fact } from '../../facts.ts'
import type { Attr } from '../../model/attr.ts'
import { encodeAttr } from '../../model/attr-record.ts'

const raws = new WeakMap<object, readonly (Buffer | null)[]>()

export function remember<F extends object>(fact: F, ...raw: readonly (Buffer | null)[]): F {
  raws.set(fact, raw)
  return fact
}

/** undefined where the fact was not read by this engine. */
export const rawOf = (fact: Fact): readonly (Buffer | null)[] | undefined =>
  typeof fact === 'object' && fact !== null ? raws.get(fact) : undefined

/** The record of these attributes: as it was read, else as this client would write it. */
export const recordOf = (attr: Attr): Buffer => rawOf(attr)?.[0] ?? encodeAttr(attr, null)
