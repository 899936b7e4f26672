/** Inode numbers as JavaScript numbers.
 *
 *  The volume's inodes are unsigned 64-bit. Ordinary ones count up from 1 and stay far below 2^52; the client's virtual
 *  files and the trash sit at 0x7FFFFFFF_00000000 and above, beyond what a double holds exactly. Those are *folded* to
 *  2^52 + low word: order is kept, every other room compares and hashes plain numbers, and only this file knows. */

declare const inoBrand: unique symbol
export type Ino = number & { readonly [inoBrand]: true }

const TWO_32 = 4294967296
/** first folded value; stands for 0x7FFFFFFF_00000000 */
const FOLD = 2 ** 52
const HIGH_WORD = 0x7fffffff

export const NO_INO = 0 as Ino
export const ROOT_INO = 1 as Ino
/** 0x7FFFFFFF_00000000: everything from here on is virtual or trash, never a user's file. */
export const SPECIAL_INO = FOLD as Ino
export const ACCESSLOG_INO = (FOLD + 1) as Ino
export const CONTROL_INO = (FOLD + 2) as Ino
export const STATS_INO = (FOLD + 3) as Ino
export const CONFIG_INO = (FOLD + 4) as Ino
/** 0x7FFFFFFF_10000000, the directory `.trash`; hour directories are TRASH_INO + 1, + 2, … */
export const TRASH_INO = (FOLD + 0x10000000) as Ino

export const isSpecial = (ino: Ino): boolean => ino >= SPECIAL_INO
/** The trash root or one of its hour directories. */
export const isTrash = (ino: Ino): boolean => ino >= TRASH_INO
/** A parent strictly above the trash root: the node lies in an hour directory. */
export const livesInTrash = (parent: Ino): boolean => parent > TRASH_INO

/** From the two 32-bit halves of the wire. A number that no volume can hold (neither below 2^52 nor folded) is kept
 *  apart as the largest safe integer, which no lookup finds. */
export function inoFromHalves(low: number, high: number): Ino {
  if (high < 0x100000) return (high * TWO_32 + low) as Ino
  return (high === HIGH_WORD ? FOLD + low : Number.MAX_SAFE_INTEGER) as Ino
}
export const inoLow = (ino: Ino): number => ino % TWO_32
export const inoHigh = (ino: Ino): number => (ino >= FOLD ? HIGH_WORD : Math.floor(ino / TWO_32))

export function inoFromBigInt(value: bigint): Ino {
  return inoFromHalves(Number(BigInt.asUintN(32, value)), Number(BigInt.asUintN(32, value >> 32n)))
}
export const inoToBigInt = (ino: Ino): bigint =>
  ino < FOLD ? BigInt(ino) : (BigInt(HIGH_WORD) << 32n) + BigInt(ino - FOLD)

/** Decimal digits of the real 64-bit number: in logs, JSON, trash names. */
export const inoToString = (ino: Ino): string => (ino < FOLD ? String(ino) : inoToBigInt(ino).toString())

/** Decimal digits back to an inode; null where the text is not one. */
export function inoFromString(text: string): Ino | null {
  if (!/^[0-9]{1,20}$/.test(text)) return null
  return text.length <= 15 ? (Number(text) as Ino) : inoFromBigInt(BigInt(text))
}
