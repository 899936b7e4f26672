/** `/metrics` for Prometheus, on `--metrics` (spec cli section 5.6). The mount goes on without it when it cannot be had. */

import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { codeOf } from '../base/call.ts'
import { causeText } from '../base/fault.ts'
import type { Log } from '../base/log.ts'
import type { MetricsSettings } from './mount-settings.ts'

export interface MetricsEndpoint {
  /** `127.0.0.1:9567`, '' without a listener */
  readonly address: string
  close(): void
}

/** A busy default port is exchanged for a free one; a busy port that was asked for is an error in the log. */
export async function serveMetrics(
  settings: MetricsSettings,
  render: () => string,
  log: Log,
): Promise<MetricsEndpoint> {
  const server = createServer((request, response) => {
    const isMetrics = request.url === '/metrics'
    response.writeHead(isMetrics ? 200 : 404, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' })
    response.end(isMetrics ? render() : 'see /metrics\n')
  })
  server.unref()
  try {
    await listen(server, settings.port, settings.host).catch(error => {
      if (settings.isGiven || codeOf(error) !== 'EADDRINUSE') throw error
      return listen(server, 0, settings.host)
    })
  } catch (error) {
    log.error(`listen on "${settings.host}":"${settings.port}" failed: ${causeText(error)}`)
    return { address: '', close: () => undefined }
  }
  const { address, port } = server.address() as AddressInfo
  const text = address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
  log.info(`Prometheus metrics listening on "${text}"`)
  return {
    address: text,
    close: () => {
      server.close()
      server.closeAllConnections()
    },
  }
}

function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      resolve()
    })
  })
}
