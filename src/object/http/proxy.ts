/** Proxies of the environment, as other tools understand it: `http_proxy`, `https_proxy`, `no_proxy`, in small letters or capitals.
 *  Entries of `no_proxy` are names (with what is below them), addresses, networks (`10.0.0.0/8`), each with a port if need be, or
 *  `*`. The machine itself is never asked through a proxy. */

import { BlockList, isIP, isIPv4 } from 'node:net'
import { bucketUrl } from '../bucket-url.ts'
import { isLoopback, type Origin, originOf, portOf } from './origin.ts'

export interface ProxyServer {
  readonly origin: Origin
  /** value of the header `proxy-authorization` */
  readonly authorization: string | undefined
}

type Environment = Readonly<Record<string, string | undefined>>

/** null: the server is asked directly. */
export function proxyOf(server: Origin, env: Environment): ProxyServer | null {
  const variable = server.protocol === 'https:' ? 'https_proxy' : 'http_proxy'
  const text = env[variable] || env[variable.toUpperCase()]
  if (!text || isLoopback(server.hostname)) return null
  const exceptions = (env.no_proxy || env.NO_PROXY || '').split(',').map(each => each.trim().toLowerCase())
  if (exceptions.some(each => each !== '' && isCovered(server, each))) return null
  const url = bucketUrl(text, () => 'http')
  const login = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`
  return {
    origin: originOf(url),
    authorization: url.username ? `Basic ${Buffer.from(login).toString('base64')}` : undefined,
  }
}

function isCovered(server: Origin, exception: string): boolean {
  if (exception === '*') return true
  const hostname = server.hostname.toLowerCase()
  const [, bracketed, plain, port] = /^(?:\[(.+)\]|([^:]*|.*:.*:.*?))(?::(\d+))?$/.exec(exception) ?? []
  const name = bracketed ?? plain ?? exception
  if (port !== undefined && Number(port) !== portOf(server)) return false
  if (isIP(hostname)) return name === hostname || isInNetwork(hostname, name)
  const suffix = name.replace(/^\*?\./, '')
  return hostname.endsWith(`.${suffix}`) || (hostname === suffix && !/^\*?\./.test(name))
}

function isInNetwork(address: string, network: string): boolean {
  const [base = '', bits] = network.split('/')
  if (bits === undefined || !isIP(base) || !/^\d+$/.test(bits)) return false
  const family = isIPv4(base) ? 'ipv4' : 'ipv6'
  if (Number(bits) > (family === 'ipv4' ? 32 : 128)) return false
  const list = new BlockList()
  list.addSubnet(base, Number(bits), family)
  return list.check(address, isIPv4(address) ? 'ipv4' : 'ipv6')
}
