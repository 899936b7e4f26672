/** Servers, as URLs name them. */

import { EINVAL } from '../../base/errno.ts'
import { Fault } from '../../base/fault.ts'

export interface Origin {
  readonly protocol: 'http:' | 'https:'
  /** without port and brackets */
  readonly hostname: string
  /** absent: the protocol's own */
  readonly port: number | undefined
}

export function originOf(url: URL): Origin {
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new Fault(`${url.protocol}//${url.host}: only http and https are spoken here`, { errno: EINVAL })
  }
  const hostname = url.hostname.replace(/^\[|\]$/g, '')
  return { protocol: url.protocol, hostname, port: url.port ? Number(url.port) : undefined }
}

export const portOf = ({ protocol, port }: Origin): number => port ?? (protocol === 'https:' ? 443 : 80)

/** As in the header `Host`. */
export function hostText({ hostname, port }: Origin): string {
  const name = hostname.includes(':') ? `[${hostname}]` : hostname
  return port === undefined ? name : `${name}:${port}`
}

export const originText = (origin: Origin): string => `${origin.protocol}//${hostText(origin)}`

export const isLoopback = (hostname: string): boolean => /^(localhost|127(\.\d+){3}|::1)$/.test(hostname)
