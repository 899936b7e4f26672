/** A loopback proxy that counts what a metadata engine says to its server and makes the way longer: round trips (the client
 *  speaks again after the server has answered), statements (requests of the protocol that execute something), bytes. */

import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'

export type Protocol = 'redis' | 'postgres' | 'mysql'

export class Wire {
  readonly port: number
  /** added to the way of a request, milliseconds */
  delayMs = 0
  trips = 0
  statements = 0
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  static async open(targetPort: number, protocol: Protocol): Promise<Wire> {
    const server = createServer()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new Wire(server, targetPort, protocol)
  }

  private constructor(server: Server, targetPort: number, protocol: Protocol) {
    this.#server = server
    this.port = (server.address() as { port: number }).port
    server.on('connection', client => this.#join(client, targetPort, protocol))
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #join(client: Socket, targetPort: number, protocol: Protocol): void {
    const target = connect(targetPort, '127.0.0.1')
    const count = statementCounter(protocol)
    let answered = true
    for (const socket of [client, target]) {
      this.#sockets.add(socket)
      socket.setNoDelay(true)
      socket.on('error', () => {})
      socket.on('close', () => {
        this.#sockets.delete(socket)
        client.destroy()
        target.destroy()
      })
    }
    client.on('data', bytes => {
      if (answered) this.trips++
      answered = false
      this.statements += count(bytes)
      this.#later(() => target.write(bytes))
    })
    target.on('data', bytes => {
      answered = true
      client.write(bytes)
    })
  }

  #later(send: () => void): void {
    if (this.delayMs === 0) send()
    else setTimeout(send, this.delayMs)
  }
}

/** Told the client's bytes as they come, answers how many statements begin in them. */
function statementCounter(protocol: Protocol): (bytes: Buffer) => number {
  let rest: Buffer = Buffer.alloc(0)
  const take = protocol === 'redis' ? redisCommand : protocol === 'mysql' ? mysqlPacket : postgresMessage()
  return bytes => {
    rest = rest.length === 0 ? bytes : Buffer.concat([rest, bytes])
    let statements = 0
    for (;;) {
      const taken = take(rest)
      if (taken === null) return statements
      statements += taken.counts ? 1 : 0
      rest = rest.subarray(taken.length)
    }
  }
}

interface Taken {
  readonly length: number
  readonly counts: boolean
}

/** An array of bulk strings. */
function redisCommand(bytes: Buffer): Taken | null {
  const lineAt = (from: number): number => bytes.indexOf('\r\n', from)
  const first = lineAt(0)
  if (first < 0) return null
  let at = first + 2
  for (let parts = Number(bytes.toString('latin1', 1, first)); parts > 0; parts--) {
    const end = lineAt(at)
    if (end < 0) return null
    at = end + 2 + Number(bytes.toString('latin1', at + 1, end)) + 2
  }
  return at > bytes.length ? null : { length: at, counts: true }
}

/** A letter and a length; the first message of a connection has no letter. Counted: Query, and Execute of the extended protocol. */
function postgresMessage(): (bytes: Buffer) => Taken | null {
  let isFirst = true
  return bytes => {
    const start = isFirst ? 0 : 1
    if (bytes.length < start + 4) return null
    const length = start + bytes.readUInt32BE(start)
    if (bytes.length < length) return null
    const letter = isFirst ? '' : String.fromCharCode(bytes[0]!)
    isFirst = false
    return { length, counts: letter === 'Q' || letter === 'E' }
  }
}

/** Three bytes of length, a sequence number, a command: COM_QUERY or COM_STMT_EXECUTE. */
function mysqlPacket(bytes: Buffer): Taken | null {
  if (bytes.length < 5) return null
  const length = 4 + bytes.readUIntLE(0, 3)
  if (bytes.length < length) return null
  return { length, counts: bytes[3] === 0 && (bytes[4] === 3 || bytes[4] === 0x17) }
}
