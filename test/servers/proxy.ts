/** A TCP proxy between a client and any server, to break their connection on purpose: before the server has heard a request, after
 *  it has, or without the client noticing. It knows no protocol; bytes pass as they come. */

import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'

/** What becomes of bytes on their way:
 *  - `pass` them on
 *  - `lose` them, and all else of this connection in this direction: the other side waits
 *  - `cut` the connection, both ways, without passing them on
 *  - `drop` the client: the server gets them, and what was sent before, and answers nobody */
export type Fate = 'pass' | 'lose' | 'cut' | 'drop'

interface Pair {
  readonly client: Socket
  readonly server: Socket
  /** directions in which everything is lost */
  readonly deaf: Set<Socket>
  /** delayed, in their order, by direction */
  readonly waiting: Map<Socket, Buffer[]>
}

export class TcpProxy {
  readonly port: number
  /** asked of every piece that a client sends; may be replaced at any time */
  onRequest: (bytes: Buffer) => Fate = () => 'pass'
  /** asked of every piece that the server sends */
  onReply: (bytes: Buffer) => Fate = () => 'pass'
  /** every piece is passed on only after so long; may be changed at any time, pieces stay in their order */
  delayMs = 0
  /** New connections are ended as soon as they are made. */
  isDown = false
  /** pieces that clients have sent: the round trips of a client that waits for each answer */
  requests = 0
  readonly #listener: Server
  readonly #pairs = new Set<Pair>()
  readonly #dropped = new Set<Socket>()
  #target: number

  /** To a port of this machine. */
  static async start(targetPort: number): Promise<TcpProxy> {
    const listener = createServer()
    listener.listen(0, '127.0.0.1')
    await once(listener, 'listening')
    return new TcpProxy(listener, targetPort)
  }

  private constructor(listener: Server, targetPort: number) {
    this.#listener = listener
    this.#target = targetPort
    this.port = (listener.address() as { port: number }).port
    listener.on('connection', client => this.#join(client))
  }

  /** Connections made from now on go to another port. */
  redirect(targetPort: number): void {
    this.#target = targetPort
  }

  /** Breaks what is connected now. */
  cut(): void {
    for (const pair of [...this.#pairs]) this.#end(pair)
  }

  /** Everything passes again. */
  heal(): void {
    this.onRequest = () => 'pass'
    this.onReply = () => 'pass'
    this.delayMs = 0
    this.isDown = false
  }

  async stop(): Promise<void> {
    const closed = once(this.#listener, 'close')
    this.#listener.close()
    this.cut()
    for (const server of this.#dropped) server.destroy()
    await closed
  }

  #join(client: Socket): void {
    client.on('error', () => undefined)
    if (this.isDown) {
      client.destroy()
      return
    }
    const server = connect({ port: this.#target, host: '127.0.0.1', noDelay: true })
    client.setNoDelay(true)
    const pair: Pair = { client, server, deaf: new Set(), waiting: new Map() }
    this.#pairs.add(pair)
    server.on('error', () => this.#end(pair))
    server.on('close', () => this.#end(pair))
    client.on('close', () => this.#end(pair))
    client.on('data', bytes => {
      this.requests++
      this.#decide(pair, server, bytes, this.onRequest(bytes))
    })
    server.on('data', bytes => this.#decide(pair, client, bytes, this.onReply(bytes)))
  }

  #decide(pair: Pair, to: Socket, bytes: Buffer, fate: Fate): void {
    if (!this.#pairs.has(pair) || pair.deaf.has(to)) return
    switch (fate) {
      case 'pass':
        this.#pass(pair, to, bytes)
        return
      case 'lose':
        pair.deaf.add(to)
        return
      case 'cut':
        this.#end(pair)
        return
      case 'drop':
        if (to === pair.server) to.write(bytes)
        this.#pairs.delete(pair)
        this.#dropped.add(pair.server)
        pair.client.destroy()
    }
  }

  /** After the delay the oldest that waits goes, so that none overtakes another when the delay changes. */
  #pass(pair: Pair, to: Socket, bytes: Buffer): void {
    const waiting = pair.waiting.get(to) ?? []
    pair.waiting.set(to, waiting)
    if (this.delayMs === 0 && waiting.length === 0) {
      to.write(bytes)
      return
    }
    waiting.push(bytes)
    setTimeout(() => to.write(waiting.shift()!), this.delayMs)
  }

  #end(pair: Pair): void {
    if (!this.#pairs.delete(pair)) return
    pair.client.destroy()
    pair.server.destroy()
  }
}
