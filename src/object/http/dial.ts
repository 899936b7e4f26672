/** Connects to a server: directly, through TLS, through a proxy.
 *
 *      http                    TCP to the server
 *      https                   TCP, TLS
 *      http through a proxy    TCP to the proxy; the first line of each request names the server
 *      https through a proxy   TCP to the proxy, CONNECT, TLS */

import { isIP, type Socket, connect as tcpConnect } from 'node:net'
import tls from 'node:tls'
import { causeText, Fault } from '../../base/fault.ts'
import { Unreachable } from '../store.ts'
import { decodeHead, encodeHead } from './message.ts'
import { hostText, type Origin, originText, portOf } from './origin.ts'
import type { ProxyServer } from './proxy.ts'
import type { SecureContextSetting } from './tls.ts'

/** Where the bytes go that come: memory to be filled, and how much of it was (net.connect, `onread`). */
export interface Sink {
  buffer(): Uint8Array
  callback(length: number): boolean
}

export interface Route {
  readonly server: Origin
  readonly proxy: ProxyServer | null
  readonly tls: SecureContextSetting
  /** of an earlier connection: half the work of a handshake */
  readonly session: Buffer | undefined
  readonly connectMs: number
}

/** A socket that is ready for requests. Throws Unreachable. */
export async function dial(route: Route, sink: Sink): Promise<Socket> {
  const { server, proxy, connectMs } = route
  const name = originText(server)
  let socket: Socket | undefined
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${connectMs} ms`)), connectMs)
  })
  try {
    const steps = connectSteps(route, sink, opened => (socket = opened))
    steps.catch(() => {})
    return await Promise.race([steps, timeout])
  } catch (error) {
    socket?.destroy()
    const through = proxy ? ` through ${originText(proxy.origin)}` : ''
    throw new Unreachable(name + through, plainCause(error))
  } finally {
    clearTimeout(timer)
  }
}

async function connectSteps(route: Route, onread: Sink, opened: (socket: Socket) => void): Promise<Socket> {
  const { server, proxy } = route
  const isSecure = server.protocol === 'https:'
  const first = proxy?.origin ?? server
  const tcp = { host: first.hostname, port: portOf(first) }
  if (!isSecure) return ready(tcpConnect({ ...tcp, onread }), 'connect', opened)
  const secure = {
    ...route.tls.connectOptions(),
    ...(isIP(server.hostname) ? {} : { servername: server.hostname }),
    ...(route.session && { session: route.session }),
    ALPNProtocols: ['http/1.1'],
  }
  // documented for tls.connect, and unknown to its types
  const direct = { ...tcp, ...secure, onread }
  if (!proxy) return ready(tls.connect(direct), 'secureConnect', opened)
  const tunnel = await ready(tcpConnect(tcp), 'connect', opened)
  await openTunnel(tunnel, server, proxy)
  const socket = tls.connect({ ...secure, socket: tunnel })
  // Node knows no `onread` for TLS over a socket that is there already.
  socket.on('data', (bytes: Buffer) => pour(bytes, onread))
  return ready(socket, 'secureConnect', opened)
}

function pour(bytes: Buffer, sink: Sink): void {
  for (let at = 0; at < bytes.length; ) {
    const copied = bytes.copy(sink.buffer(), 0, at)
    sink.callback(copied)
    at += copied
  }
}

function ready<T extends Socket>(socket: T, event: string, opened: (socket: Socket) => void): Promise<T> {
  opened(socket)
  return new Promise((resolve, reject) => {
    const failed = (): void => reject(new Error('the server closed the connection'))
    socket.once('error', reject)
    socket.once('close', failed)
    socket.once(event, () => {
      socket.off('error', reject)
      socket.off('close', failed)
      resolve(socket)
    })
  })
}

async function openTunnel(socket: Socket, server: Origin, { authorization }: ProxyServer): Promise<void> {
  const target = hostText({ ...server, port: portOf(server) })
  const headers = { host: target, ...(authorization && { 'proxy-authorization': authorization }) }
  socket.write(encodeHead('CONNECT', target, headers), 'latin1')
  let text = ''
  while (!text.includes('\r\n\r\n')) {
    text += await nextBytes(socket)
    if (text.length > 16_384) throw new Fault('the proxy answers without end')
  }
  const { status } = decodeHead(text.slice(0, text.indexOf('\r\n\r\n')))
  if (status < 200 || status >= 300) throw new Fault(`the proxy answers with status ${status}`)
}

function nextBytes(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    const ended = (): void => reject(new Error('the proxy closed the connection'))
    socket.once('error', reject)
    socket.once('close', ended)
    socket.once('data', (bytes: Buffer) => {
      socket.pause()
      socket.off('error', reject)
      socket.off('close', ended)
      resolve(bytes.toString('latin1'))
    })
    socket.resume()
  })
}

/** Attempts on several addresses fail together in an error without a message of its own. */
function plainCause(error: unknown): unknown {
  if (!(error instanceof AggregateError) || error.message !== '') return error
  return new Error(error.errors.map(causeText).join(', '), { cause: error })
}
