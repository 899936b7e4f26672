/** Requests and answers of HTTP/1.1 as bytes (RFC 9112). */

import { Fault } from '../../base/fault.ts'
import type { Origin } from './origin.ts'

export interface HttpRequest {
  readonly method: string
  readonly origin: Origin
  /** escaped, with the query */
  readonly path: string
  /** names in small letters; `host` and `content-length` are added */
  readonly headers: Readonly<Record<string, string>>
  readonly body?: Buffer | undefined
}

/** Names in small letters; what stands several times is joined by commas. */
export type Headers = Readonly<Record<string, string>>

export interface HttpAnswer {
  readonly status: number
  readonly headers: Headers
  /** of a HEAD: empty, whatever `content-length` says */
  readonly body: Buffer
}

export interface Head {
  readonly status: number
  readonly headers: Headers
  /** The server keeps the connection open after this answer. */
  readonly keepsAlive: boolean
}

/** How the end of a body is found. */
export type Framing =
  | { readonly kind: 'length'; readonly length: number }
  | { readonly kind: 'none' | 'chunked' | 'close' }

/** Far above every object there is; a server that says more is broken, and memory is taken on its word. */
const MAX_BODY = 2 ** 32

export function encodeHead(method: string, target: string, headers: Readonly<Record<string, string>>): string {
  const lines = [`${method} ${target} HTTP/1.1`]
  for (const name in headers) lines.push(`${name}: ${headers[name]}`)
  // Such a value would be a header, or a request, of its own.
  if (lines.some(line => /[\r\n\0]/.test(line))) throw new Fault('a header of the request holds an end of line')
  return `${lines.join('\r\n')}\r\n\r\n`
}

/** `text` ends before the empty line. Throws a Fault on what is no HTTP/1. */
export function decodeHead(text: string): Head {
  const lines = text.split('\r\n')
  const [, minor, status] = /^HTTP\/1\.([01]) (\d{3})(?: |$)/.exec(lines[0]!) ?? []
  if (status === undefined) throw new Fault(`the answer is no HTTP: ${JSON.stringify(lines[0]!.slice(0, 60))}`)
  const headers: Record<string, string> = Object.create(null)
  for (let i = 1; i < lines.length; i++) {
    const line = lines[i]!
    const colon = line.indexOf(':')
    if (colon <= 0) throw new Fault(`the answer has no header in ${JSON.stringify(line.slice(0, 60))}`)
    const name = line.slice(0, colon).toLowerCase()
    const value = line.slice(colon + 1).trim()
    const before = headers[name]
    headers[name] = before === undefined ? value : `${before}, ${value}`
  }
  const connection = headers.connection?.toLowerCase() ?? ''
  const keepsAlive = minor === '1' ? !connection.includes('close') : connection.includes('keep-alive')
  return { status: Number(status), headers, keepsAlive }
}

/** Where both are stated, or the length several times over, the two sides could disagree where the answer ends: refused. */
export function framingOf(method: string, { status, headers }: Head): Framing {
  const { 'content-length': length, 'transfer-encoding': encoding } = headers
  if (method === 'HEAD' || status === 204 || status === 304) return { kind: 'none' }
  if (encoding !== undefined) {
    if (encoding.toLowerCase() !== 'chunked' || length !== undefined) {
      throw new Fault(`the answer is encoded as ${encoding}${length === undefined ? '' : ` and has a length`}`)
    }
    return { kind: 'chunked' }
  }
  if (length === undefined) return { kind: 'close' }
  if (!/^\d{1,15}$/.test(length) || Number(length) > MAX_BODY) throw new Fault(`the answer has a length of ${length}`)
  return { kind: 'length', length: Number(length) }
}
