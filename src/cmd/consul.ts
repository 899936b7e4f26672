/** `--consul`: makes the metrics of a mount known to Consul's agent (spec vfs section 10), so that Prometheus finds them. */

import { hostname, networkInterfaces } from 'node:os'
import { causeText } from '../base/fault.ts'
import type { Log } from '../base/log.ts'

const ANSWER_MS = 5000
const SERVICE = 'juicefs'

/** Registers; returns what takes it back. A mount goes on without: failures are warnings. `metricsAddress`: `host:port`, as
 *  listened on. */
export async function registerAtConsul(
  agent: string,
  what: { readonly metricsAddress: string; readonly mountPoint: string },
  log: Log,
): Promise<() => Promise<void>> {
  const nothing = async (): Promise<void> => {}
  const colon = what.metricsAddress.lastIndexOf(':')
  if (colon < 0) {
    log.warn('nothing to register at consul: there is no metrics address')
    return nothing
  }
  const host = reachable(what.metricsAddress.slice(0, colon).replace(/^\[(.*)\]$/, '$1'))
  const id = `${host}:${what.mountPoint}`
  const put = async (path: string, body?: object): Promise<boolean> => {
    try {
      const answer = await fetch(`http://${agent}/v1/agent/service/${path}`, {
        method: 'PUT',
        ...(body ? { body: JSON.stringify(body) } : {}),
        signal: AbortSignal.timeout(ANSWER_MS),
      })
      if (!answer.ok) throw new Error(`status ${answer.status} ${await answer.text()}`.trim())
      return true
    } catch (error) {
      const { cause } = error as { cause?: unknown }
      log.warn(`consul ${agent}: ${path.split('/')[0]} ${id}: ${causeText(cause ?? error)}`)
      return false
    }
  }
  const service = {
    ID: id,
    Name: SERVICE,
    Address: host,
    Port: Number(what.metricsAddress.slice(colon + 1)),
    Meta: { mountPoint: what.mountPoint, hostName: hostname() },
  }
  if (!(await put('register', service))) return nothing
  log.info(`Registered at consul ${agent} as ${id}`)
  return async () => void (await put(`deregister/${encodeURIComponent(id)}`))
}

/** An address that others can ask: "any" stands for the first one that is not this machine's own. */
function reachable(host: string): string {
  if (host !== '0.0.0.0' && host !== '::') return host
  const outer = Object.values(networkInterfaces())
    .flatMap(each => each ?? [])
    .find(({ internal, family }) => !internal && family === 'IPv4')
  return outer?.address ?? '127.0.0.1'
}
