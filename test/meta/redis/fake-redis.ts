/** A server that speaks Redis's protocol and answers as a test says: for what a real one here cannot be made to do. */

import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'

/** The reply to a command, as it goes over the wire; undefined = none, ever. */
export type Answers = Readonly<Record<string, (...args: string[]) => string | undefined>>

export const bulk = (text: string): string => `$${Buffer.byteLength(text)}\r\n${text}\r\n`

export class FakeRedis {
  readonly port: number
  /** commands that came, with their operands */
  readonly heard: string[][] = []
  readonly #listener: Server
  readonly #sockets = new Set<Socket>()
  readonly #answers: Answers

  static async start(answers: Answers): Promise<FakeRedis> {
    const listener = createServer()
    listener.listen(0, '127.0.0.1')
    await once(listener, 'listening')
    return new FakeRedis(listener, answers)
  }

  private constructor(listener: Server, answers: Answers) {
    this.#listener = listener
    this.#answers = answers
    this.port = (listener.address() as { port: number }).port
    listener.on('connection', socket => this.#serve(socket))
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    if (!this.#listener.listening) return
    this.#listener.close()
    await once(this.#listener, 'close')
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('close', () => this.#sockets.delete(socket))
    let waiting = ''
    socket.on('data', bytes => {
      waiting += bytes.toString('latin1')
      for (let command = take(); command; command = take()) {
        this.heard.push(command)
        const [name = '', ...args] = command
        const answer = this.#answers[name.toUpperCase()]
        const reply = answer ? answer(...args) : name === 'CLIENT' ? ':1\r\n' : '+OK\r\n'
        if (reply !== undefined) socket.write(reply)
      }
    })
    /** The next command, if all of it is there. */
    const take = (): string[] | null => {
      const head = /^\*(\d+)\r\n/.exec(waiting)
      if (!head) return null
      const words: string[] = []
      let at = head[0].length
      for (let n = Number(head[1]); n > 0; n--) {
        const size = /^\$(\d+)\r\n/.exec(waiting.slice(at))
        if (!size) return null
        const from = at + size[0].length
        at = from + Number(size[1]) + 2
        if (at > waiting.length) return null
        words.push(waiting.slice(from, at - 2))
      }
      waiting = waiting.slice(at)
      return words
    }
  }
}
