/** Ways to a server: TLS with authorities of one's own, proxies of the environment, connections that are kept. */

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import http from 'node:http'
import https from 'node:https'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { HttpClient } from '../../src/object/http/client.ts'
import { originOf } from '../../src/object/http/origin.ts'
import { SecureContextSetting } from '../../src/object/http/tls.ts'
import { skipWithout } from '../servers/programs.ts'
import { startScripted } from '../servers/scripted.ts'

async function clientOf(url: URL, body: (send: (path: string) => Promise<number>) => Promise<void>): Promise<void> {
  const client = new HttpClient(SecureContextSetting.takeFrom(url), { connectMs: 2000, silenceMs: 2000 })
  try {
    await body(async path => {
      const { status } = await client.send({ method: 'GET', origin: originOf(url), path, headers: {} })
      return status
    })
  } finally {
    client.close()
  }
}

describe('HTTP over TLS', { skip: skipWithout('openssl') }, () => {
  let dir: string
  let server: https.Server
  let url: string
  const path = (name: string): string => join(dir, name)
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'tls-'))
    const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: dir, stdio: 'pipe' })
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
    openssl('req', '-x509', ...key, '-keyout', 'ca.key', '-out', 'ca.pem', '-days', '2', '-subj', '/CN=trial authority')
    for (const name of ['server', 'client']) {
      openssl(
        'req',
        ...key,
        '-keyout',
        `${name}.key`,
        '-out',
        `${name}.csr`,
        '-subj',
        `/CN=${name}`,
        '-addext',
        'subjectAltName=IP:127.0.0.1',
      )
      openssl(
        'x509',
        '-req',
        '-in',
        `${name}.csr`,
        '-CA',
        'ca.pem',
        '-CAkey',
        'ca.key',
        '-CAcreateserial',
        '-days',
        '2',
        '-copy_extensions',
        'copy',
        '-out',
        `${name}.pem`,
      )
    }
    server = https.createServer(
      {
        key: await readFile(path('server.key')),
        cert: await readFile(path('server.pem')),
        ca: await readFile(path('ca.pem')),
        requestCert: true,
        rejectUnauthorized: false,
      },
      (request, response) => {
        const { authorized } = request.socket as unknown as { authorized: boolean }
        const parts: Buffer[] = []
        request.on('data', part => parts.push(part))
        request.on('end', () => response.writeHead(authorized ? 200 : 203).end(Buffer.concat(parts)))
      },
    )
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    url = `https://127.0.0.1:${(server.address() as { port: number }).port}/b`
  })
  after(async () => {
    server.closeAllConnections()
    server.close()
    await rm(dir, { recursive: true })
  })

  it('a server of an unknown authority is refused', async () => {
    await clientOf(new URL(url), async send => {
      await assert.rejects(send('/'), /connect to https:.*(unable to|self-signed)/)
    })
  })

  it('unless the bucket’s URL says that any server will do', async () => {
    await clientOf(new URL(`${url}?tls-insecure-skip-verify=true`), async send => assert.equal(await send('/'), 203))
  })

  it('ca-certs, ssl-cert and ssl-key make the server known to us and us to the server', async () => {
    const query = `?ca-certs=${path('ca.pem')}&ssl-cert=${path('client.pem')}&ssl-key=${path('client.key')}`
    await clientOf(new URL(url + query), async send => assert.equal(await send('/'), 200))
  })

  it('large bodies pass both ways whole, directly and through the tunnel of a proxy', async () => {
    const tunnels: string[] = []
    const proxy = http.createServer().on('connect', (request, socket) => {
      tunnels.push(`${request.url} ${request.headers['proxy-authorization']}`)
      const { port } = new URL(url)
      const server = connect(Number(port), '127.0.0.1', () => {
        socket.write('HTTP/1.1 200 OK\r\n\r\n')
        socket.pipe(server).pipe(socket)
      })
      for (const end of [socket, server]) end.on('error', () => {})
    })
    proxy.listen(0, '127.0.0.1')
    await once(proxy, 'listening')
    const body = randomBytes((4 << 20) + 13)
    const saved = process.env.https_proxy
    process.env.https_proxy = `http://me:pw@127.0.0.1:${(proxy.address() as { port: number }).port}`
    const client = new HttpClient(SecureContextSetting.takeFrom(new URL('https://x?tls-insecure-skip-verify=true')))
    try {
      for (const origin of [originOf(new URL(url)), originOf(new URL('https://store.invalid'))]) {
        for (let i = 0; i < 3; i++) {
          const answer = await client.send({ method: 'PUT', origin, path: '/', headers: {}, body })
          assert.ok(answer.body.equals(body))
        }
      }
      assert.deepEqual(tunnels, [`store.invalid:443 Basic ${Buffer.from('me:pw').toString('base64')}`])
    } finally {
      client.close()
      if (saved === undefined) delete process.env.https_proxy
      else process.env.https_proxy = saved
      proxy.closeAllConnections()
      proxy.close()
    }
  })

  it('two of the three are refused at once, and a file that is missing is named', async () => {
    assert.throws(() => SecureContextSetting.takeFrom(new URL(`${url}?ca-certs=x&ssl-cert=y`)), /needs all of/)
    await clientOf(new URL(`${url}?ca-certs=/none/ca.pem&ssl-cert=x&ssl-key=y`), async send => {
      await assert.rejects(send('/'), /read \/none\/ca\.pem: ENOENT/)
    })
  })
})

describe('connections', () => {
  it('are kept, and shared by requests one after the other', async () => {
    const server = await startScripted((_, response) => void response.end())
    await clientOf(new URL(`http://127.0.0.1:${server.port}/`), async send => {
      for (let i = 0; i < 4; i++) await send(`/${i}`)
    })
    assert.deepEqual(
      server.requests.map(({ earlier }) => earlier),
      [0, 1, 2, 3],
    )
    await server.close()
  })

  it('go through the proxy of the environment, but not to this machine', async () => {
    const asked: string[] = []
    const proxy = http.createServer((request, response) => {
      asked.push(request.url!)
      response.writeHead(299).end()
    })
    proxy.listen(0, '127.0.0.1')
    await once(proxy, 'listening')
    const saved = process.env.http_proxy
    process.env.http_proxy = `http://127.0.0.1:${(proxy.address() as { port: number }).port}`
    const server = await startScripted((_, response) => void response.end())
    try {
      await clientOf(new URL('http://store.invalid/'), async send => assert.equal(await send('/k'), 299))
      await clientOf(new URL(`http://127.0.0.1:${server.port}/`), async send => assert.equal(await send('/k'), 200))
      assert.deepEqual(asked, ['http://store.invalid/k'])
    } finally {
      if (saved === undefined) delete process.env.http_proxy
      else process.env.http_proxy = saved
      proxy.closeAllConnections()
      proxy.close()
      await server.close()
    }
  })

  it('to a name without an address fail with the name', async () => {
    await clientOf(new URL('http://store.invalid/'), async send => {
      await assert.rejects(send('/'), /connect to http:\/\/store\.invalid: getaddrinfo/)
    })
  })
})
