/** Statements as text. All of a commit travels in one packet, and only text can do that: MySQL prepares one statement at a time.
 *
 *  Values stand as `$1`, `$2`, … and are spelled out of digits and hexadecimal alone, so whatever bytes they hold, no character
 *  set, sql_mode or escape rule of the server has a say in them. */

/** A number, its digits, or bytes. Bytes for a column of characters are `Characters`. */
export type Bound = number | bigint | string | Buffer | Characters

/** UTF-8, to be stored in the character set of its column */
export interface Characters {
  readonly utf8: Buffer
}
export const characters = (text: string): Characters => ({ utf8: Buffer.from(text, 'utf8') })

export interface Statement {
  readonly text: string
  readonly values: readonly Bound[]
}

/** A row is an array of its columns: numbers, bytes where the column has bytes, else text. */
export interface Answer {
  readonly rows: readonly (readonly unknown[])[]
}

export const spelled = ({ text, values }: Statement): string =>
  values.length === 0 ? text : text.replace(/\$(\d+)/g, (_, place: string) => literal(values[Number(place) - 1]))

export function literal(value: Bound | undefined): string {
  if (Buffer.isBuffer(value)) return `x'${value.toString('hex')}'`
  if (typeof value === 'object') return `_utf8mb4 x'${value.utf8.toString('hex')}'`
  const digits = String(value)
  if (!/^-?\d+$/.test(digits)) throw new TypeError(`no number: ${digits}`)
  return digits
}

/** 1 where `condition` holds, else an error that ends the packet: nothing after it is run. The largest number plus one is an
 *  error in every sql_mode (1690); it is computed either way, so nothing depends on what the server evaluates when. */
export const unless = (condition: string): string => `SELECT ~0 + ((${condition}) IS NOT TRUE)`

/** Numbers the values of a statement. */
export type Place = () => string
export function places(first = 1): Place {
  let next = first
  return () => `$${next++}`
}
