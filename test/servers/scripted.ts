/** An HTTP server inside the test that answers as the test says: for what real servers will not do on demand. */

import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'

export interface Received {
  readonly method: string
  readonly path: string
  readonly headers: IncomingMessage['headers']
  readonly body: Buffer
  /** requests before this one on the same connection */
  readonly earlier: number
}

export interface ScriptedServer {
  readonly port: number
  /** in the order in which they came */
  readonly requests: Received[]
  close(): Promise<void>
}

/** `answer` is called when the body has come; `first`, where given, as soon as the headers have, and true means that it answered. */
export async function startScripted(
  answer: (received: Received, response: ServerResponse) => void,
  first?: (request: IncomingMessage, response: ServerResponse) => boolean,
): Promise<ScriptedServer> {
  const requests: Received[] = []
  const counts = new WeakMap<object, number>()
  const server = createServer((request, response) => {
    const earlier = counts.get(request.socket) ?? 0
    counts.set(request.socket, earlier + 1)
    if (first?.(request, response)) return
    const parts: Buffer[] = []
    request.on('data', part => parts.push(part))
    request.on('end', () => {
      const { method = '', url: path = '', headers } = request
      const received = { method, path, headers, body: Buffer.concat(parts), earlier }
      requests.push(received)
      answer(received, response)
    })
  })
  server.keepAliveTimeout = 60_000
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  return {
    port,
    requests,
    async close() {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}

/** The error document of S3. */
export const errorXml = (code: string, message = '', more = ''): string =>
  `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>${message}</Message>${more}<RequestId>REQ-1</RequestId></Error>`
