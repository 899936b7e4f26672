import assert from 'node:assert/strict'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { hostname } from 'node:os'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { openLog } from '../../src/base/log.ts'
import { registerAtConsul } from '../../src/cmd/consul.ts'

describe('--consul', () => {
  let server: Server
  let agent: string
  let asked: string[]
  let status: number
  let lines: string[]
  const log = openLog({ level: 'INFO', colour: false, id: '', write: line => void lines.push(line) })
  beforeEach(async () => {
    asked = []
    lines = []
    status = 200
    server = createServer((request, response) => {
      let body = ''
      request.on('data', piece => {
        body += piece
      })
      request.on('end', () => {
        asked.push(`${request.method} ${request.url} ${body}`)
        response.writeHead(status).end(status === 200 ? '' : 'no leader')
      })
    })
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    agent = `127.0.0.1:${(server.address() as AddressInfo).port}`
  })
  afterEach(() => {
    server.close()
    server.closeAllConnections()
  })

  it('registers the metrics by address and mount point, and takes them back', async () => {
    const takeBack = await registerAtConsul(agent, { metricsAddress: '10.0.0.7:9567', mountPoint: '/mnt/a b' }, log)
    assert.match(lines[0]!, /<INFO>: Registered at consul .* as 10\.0\.0\.7:\/mnt\/a b /)
    const [register = ''] = asked
    assert.ok(register.startsWith('PUT /v1/agent/service/register '))
    assert.deepEqual(JSON.parse(register.slice(register.indexOf('{'))), {
      ID: '10.0.0.7:/mnt/a b',
      Name: 'juicefs',
      Address: '10.0.0.7',
      Port: 9567,
      Meta: { mountPoint: '/mnt/a b', hostName: hostname() },
    })
    await takeBack()
    assert.equal(asked[1], 'PUT /v1/agent/service/deregister/10.0.0.7%3A%2Fmnt%2Fa%20b ')
  })

  it('names an address that others can ask where the metrics listen on all', async () => {
    await registerAtConsul(agent, { metricsAddress: '0.0.0.0:1', mountPoint: '/m' }, log)
    assert.doesNotMatch(asked[0]!, /0\.0\.0\.0/)
  })

  it('that refuses or is not there is a warning, and nothing is taken back', async () => {
    status = 500
    const refused = await registerAtConsul(agent, { metricsAddress: '[::1]:9', mountPoint: '/m' }, log)
    assert.match(lines[0]!, /<WARNING>: consul .*: register ::1:\/m: status 500 no leader/)
    await refused()
    assert.equal(asked.length, 1)
    server.close()
    server.closeAllConnections()
    await registerAtConsul('127.0.0.1:1', { metricsAddress: '[::1]:9', mountPoint: '/m' }, log)
    assert.match(lines[1]!, /<WARNING>: consul 127\.0\.0\.1:1: register .*(ECONNREFUSED|bad port)/)
    await registerAtConsul(agent, { metricsAddress: '', mountPoint: '/m' }, log)
    assert.match(lines[2]!, /<WARNING>: nothing to register/)
  })
})
