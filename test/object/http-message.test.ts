/** The wire of HTTP/1.1 from the client's side, against a server that sends bytes as the test wants them, in pieces of any size. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { Fault } from '../../src/base/fault.ts'
import { HttpClient } from '../../src/object/http/client.ts'
import type { HttpAnswer } from '../../src/object/http/message.ts'
import { proxyOf } from '../../src/object/http/proxy.ts'
import { SecureContextSetting } from '../../src/object/http/tls.ts'

interface Raw {
  send(method?: string, headers?: Record<string, string>): Promise<HttpAnswer>
  /** connections so far */
  readonly connections: () => number
}

/** `answers`: the bytes of each answer in turn, the last one for all that follow. `pieceBytes`: sent so many at a time. */
async function withRaw(
  answers: readonly string[],
  body: (raw: Raw) => Promise<void>,
  pieceBytes = Number.POSITIVE_INFINITY,
  closes = false,
): Promise<void> {
  let connections = 0
  let requests = 0
  const sockets = new Set<Socket>()
  const server = createServer({ noDelay: true }, socket => {
    connections++
    sockets.add(socket)
    socket.on('error', () => {})
    let text = ''
    socket.on('data', async part => {
      text += part.toString('latin1')
      if (!text.endsWith('\r\n\r\n')) return
      text = ''
      const bytes = Buffer.from(answers[Math.min(requests++, answers.length - 1)]!, 'latin1')
      for (let at = 0; at < bytes.length; at += pieceBytes) {
        socket.write(bytes.subarray(at, Math.min(bytes.length, at + pieceBytes)))
        if (pieceBytes < bytes.length) await turn()
      }
      if (closes) socket.end()
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const client = new HttpClient(SecureContextSetting.takeFrom(new URL('http://x')), {
    connectMs: 2000,
    silenceMs: 2000,
  })
  const origin = { protocol: 'http:', hostname: '127.0.0.1', port } as const
  try {
    await body({
      send: (method = 'GET', headers = {}) => client.send({ method, origin, path: '/', headers }),
      connections: () => connections,
    })
  } finally {
    client.close()
    server.close()
    for (const socket of sockets) socket.destroy()
  }
}

const OK = 'HTTP/1.1 200 OK\r\n'

describe('answers of HTTP/1.1', () => {
  const cases = [
    ['of stated length', `${OK}Content-Length: 11\r\nX-A: 1\r\nx-a: 2\r\n\r\nhello world`],
    [
      'in pieces with extensions and a trailer',
      `${OK}Transfer-Encoding: chunked\r\nX-A: 1\r\nX-a:2\r\n\r\n5;x="y"\r\nhello\r\n006\r\n world\r\n0\r\nTrailer: x\r\n\r\n`,
    ],
    [
      'after an interim answer',
      `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n${OK}X-A: 1, 2\r\nContent-Length: 11\r\n\r\nhello world`,
    ],
  ] as const
  for (const [name, bytes] of cases) {
    for (const pieceBytes of [1, 2, 3, 7, 1000]) {
      it(`${name} are read, ${pieceBytes} bytes at a time, and the connection is used again`, async () => {
        await withRaw(
          [bytes],
          async raw => {
            for (let i = 0; i < 3; i++) {
              const { status, headers, body } = await raw.send()
              assert.equal(status, 200)
              assert.equal(headers['x-a'], '1, 2')
              assert.equal(body.toString(), 'hello world')
            }
            assert.equal(raw.connections(), 1)
          },
          pieceBytes,
        )
      })
    }
  }

  it('of unknown length end with the connection', async () => {
    await withRaw(
      [`${OK}\r\nhello world`],
      async raw => {
        for (let i = 0; i < 2; i++) assert.equal((await raw.send()).body.toString(), 'hello world')
        assert.equal(raw.connections(), 2)
      },
      4,
      true,
    )
  })

  it('to a HEAD, and those with 204 and 304, have no body, whatever their headers say', async () => {
    await withRaw([`${OK}Content-Length: 11\r\n\r\n`], async raw => {
      const { body, headers } = await raw.send('HEAD')
      assert.equal(body.length, 0)
      assert.equal(headers['content-length'], '11')
      assert.equal((await raw.send('HEAD')).status, 200)
      assert.equal(raw.connections(), 1)
    })
    for (const status of [204, 304]) {
      await withRaw([`HTTP/1.1 ${status} X\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`], async raw => {
        for (let i = 0; i < 3; i++) assert.equal((await raw.send()).status, status)
        assert.equal(raw.connections(), 3, 'what follows such an answer cannot be told apart')
      })
    }
  })

  it('that say so, and those of HTTP/1.0, close the connection', async () => {
    for (const head of [`${OK}Connection: close\r\n`, 'HTTP/1.0 200 OK\r\n']) {
      await withRaw([`${head}Content-Length: 2\r\n\r\nok`], async raw => {
        for (let i = 0; i < 2; i++) assert.equal((await raw.send()).body.toString(), 'ok')
        assert.equal(raw.connections(), 2)
      })
    }
  })

  it('with large headers are read, with endless ones refused', async () => {
    await withRaw([`${OK}X-Large: ${'x'.repeat(40_000)}\r\nContent-Length: 2\r\n\r\nok`], async raw => {
      assert.equal((await raw.send()).headers['x-large']?.length, 40_000)
      assert.equal((await raw.send()).body.toString(), 'ok')
    })
    await withRaw([`${OK}X-Large: ${'x'.repeat(100_000)}`], async raw => {
      await assert.rejects(raw.send(), /more than 65536 bytes of headers/)
    })
  })

  const broken = [
    ['SMTP ready\r\n\r\n', /no HTTP/],
    ['HTTP/2 200\r\n\r\n', /no HTTP/],
    [`${OK}no colon\r\n\r\n`, /no header in "no colon"/],
    [`${OK}Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc`, /length of 2, 3/],
    [`${OK}Content-Length: -1\r\n\r\n`, /length of -1/],
    [`${OK}Content-Length: 99999999999999\r\n\r\n`, /length of 9+/],
    [`${OK}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, /encoded as chunked and has a length/],
    [`${OK}Transfer-Encoding: gzip\r\n\r\n`, /encoded as gzip/],
    [`${OK}Transfer-Encoding: chunked\r\n\r\nxyz\r\n`, /piece of length "xyz"/],
    [`${OK}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nmore`, /goes on after its end/],
    [`${OK}Content-Length: 2\r\n\r\nabc`, /goes on after its 2 bytes/],
  ] as const
  for (const [bytes, message] of broken) {
    it(`${JSON.stringify(bytes.slice(0, 70))} is a fault`, async () => {
      await withRaw([bytes], raw =>
        assert.rejects(raw.send(), error => error instanceof Fault && message.test(error.message)),
      )
    })
  }

  it('that come unasked do not answer the next request', async () => {
    await withRaw([`${OK}Content-Length: 2\r\n\r\nok`, `${OK}Content-Length: 4\r\n\r\ngood`], async raw => {
      assert.equal((await raw.send()).body.toString(), 'ok')
      assert.equal((await raw.send()).body.toString(), 'good')
    })
    const twice = `${OK}Content-Length: 2\r\n\r\nok${OK}Content-Length: 4\r\n\r\nevil`
    await withRaw([twice], async raw => assert.rejects(raw.send(), /goes on after its 2 bytes/))
  })

  it('a header of ours that holds an end of line is refused', async () => {
    await withRaw([OK], async raw => {
      for (const value of ['a\r\nx-evil: 1', 'a\nb', 'a\0b'])
        await assert.rejects(raw.send('GET', { x: value }), /end of line/)
    })
  })
})

describe('proxies of the environment', () => {
  const https = (hostname: string, port?: number) => ({ protocol: 'https:', hostname, port }) as const
  const env = (no_proxy: string) => ({ https_proxy: 'http://u:p%40@proxy:3128', no_proxy })
  const isDirect = (hostname: string, exceptions: string, port?: number): boolean =>
    proxyOf(https(hostname, port), env(exceptions)) === null

  it('carry user and password', () => {
    const proxy = proxyOf(https('a.example'), env(''))!
    assert.deepEqual(proxy.origin, { protocol: 'http:', hostname: 'proxy', port: 3128 })
    assert.equal(proxy.authorization, `Basic ${Buffer.from('u:p@').toString('base64')}`)
    assert.equal(proxyOf({ protocol: 'http:', hostname: 'a.example', port: undefined }, env('')), null)
    assert.ok(proxyOf(https('a.example'), { HTTPS_PROXY: 'proxy:3128' }))
  })

  it('are passed over for names, domains, addresses, networks and ports of no_proxy, and for this machine', () => {
    assert.ok(isDirect('localhost', '') && isDirect('127.0.0.1', '') && isDirect('::1', ''))
    assert.ok(isDirect('a.example', 'a.example') && isDirect('b.a.example', 'a.example'))
    assert.ok(!isDirect('ba.example', 'a.example') && !isDirect('a.example', 'b.a.example'))
    assert.ok(isDirect('b.a.example', '.a.example') && !isDirect('a.example', '.a.example'))
    assert.ok(isDirect('b.a.example', '*.a.example') && isDirect('x', '*'))
    assert.ok(isDirect('10.1.2.3', '192.168.0.0/16, 10.0.0.0/8') && !isDirect('11.1.2.3', '10.0.0.0/8'))
    assert.ok(isDirect('10.1.2.3', '10.1.2.3') && !isDirect('10.1.2.30', '10.1.2.3'))
    assert.ok(
      isDirect('fd00::5', 'fd00::/8') && isDirect('fd00::5', '[fd00::5]:443') && !isDirect('fe00::5', 'fd00::/8'),
    )
    assert.ok(isDirect('a.example', 'a.example:443') && !isDirect('a.example', 'a.example:8443'))
    assert.ok(isDirect('a.example', 'a.example:8443', 8443))
  })
})
