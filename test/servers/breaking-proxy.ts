/** A TCP proxy that breaks connections where a test wants them broken: before a request arrives, after it was answered, while
 *  it is being answered. */

import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'

/** What becomes of bytes on their way: `pass` them on, `hold` them (and what follows) until released, `cut` the connection,
 *  or `drop` the client's side only: the server goes on with what it has. */
export type Verdict = 'pass' | 'hold' | 'cut' | 'drop'
export type Judge = (bytes: Buffer) => Verdict

interface Pair {
  readonly client: Socket
  readonly server: Socket
  /** held on their way to the client, to the server */
  readonly toClient: Buffer[]
  readonly toServer: Buffer[]
}

const pass: Judge = () => 'pass'

export class BreakingProxy {
  readonly port: number
  /** asked about every piece that a client sends */
  onRequest: Judge = pass
  /** asked about every piece that the server sends */
  onReply: Judge = pass
  /** false: connections are refused (closed as soon as they are made) */
  isUp = true
  readonly #server: Server
  readonly #target: () => { host: string; port: number }
  readonly #pairs = new Set<Pair>()

  static async start(target: () => { host: string; port: number }): Promise<BreakingProxy> {
    const server = createServer()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new BreakingProxy(server, target)
  }

  private constructor(server: Server, target: () => { host: string; port: number }) {
    this.#server = server
    this.#target = target
    this.port = (server.address() as { port: number }).port
    server.on('connection', client => this.#join(client))
  }

  get connections(): number {
    return this.#pairs.size
  }

  /** Cuts every connection, both ways. */
  cut(): void {
    for (const pair of this.#pairs) this.#end(pair)
  }

  /** Everything passes again; what was held goes on its way. */
  release(): void {
    this.onRequest = pass
    this.onReply = pass
    this.isUp = true
    for (const { client, server, toClient, toServer } of this.#pairs) {
      for (const bytes of toClient.splice(0)) client.write(bytes)
      for (const bytes of toServer.splice(0)) server.write(bytes)
    }
  }

  async stop(): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.cut()
    await closed
  }

  #join(client: Socket): void {
    client.on('error', () => undefined)
    if (!this.isUp) return void client.destroy()
    const { host, port } = this.#target()
    const server = connect(port, host)
    const pair: Pair = { client, server, toClient: [], toServer: [] }
    this.#pairs.add(pair)
    server.on('error', () => this.#end(pair))
    client.on('close', () => server.destroy())
    server.on('close', () => this.#end(pair))
    client.on('data', bytes => this.#judge(pair, this.onRequest(bytes), server, pair.toServer, bytes))
    server.on('data', bytes => this.#judge(pair, this.onReply(bytes), client, pair.toClient, bytes))
  }

  #judge(pair: Pair, verdict: Verdict, to: Socket, held: Buffer[], bytes: Buffer): void {
    if (verdict === 'cut') this.#end(pair)
    else if (verdict === 'drop') this.#drop(pair, to, bytes)
    else if (verdict === 'hold' || held.length > 0) held.push(bytes)
    else to.write(bytes)
  }

  /** The client sees its connection end; the server has got everything, and only misses whom to answer. */
  #drop(pair: Pair, to: Socket, bytes: Buffer): void {
    if (to === pair.server) pair.server.write(bytes)
    pair.client.removeAllListeners('close')
    pair.client.destroy()
  }

  #end(pair: Pair): void {
    this.#pairs.delete(pair)
    pair.client.destroy()
    pair.server.destroy()
  }
}
