/** How a client of OpenStack Swift gets its token and learns where the account's objects are.
 *
 *      https://container.host[/auth/v1.0]       version 1: user and key in headers, an address in the answer
 *      https://container.host[:port]/v3         Keystone: user, password, domains and project; a catalogue in the answer */

import { EINVAL } from '../../base/errno.ts'
import { Fault } from '../../base/fault.ts'
import { bucketUrl } from '../bucket-url.ts'
import type { HttpClient } from '../http/client.ts'
import { type Origin, originOf } from '../http/origin.ts'
import { Refused } from '../store.ts'

type Environment = Readonly<Record<string, string | undefined>>

export interface SwiftSetting {
  readonly bucket: string
  /** user and password; else those of the environment, as OpenStack's own tools read them */
  readonly accessKey?: string | undefined
  readonly secretKey?: string | undefined
}

export interface Account {
  readonly token: string
  readonly origin: Origin
  /** escaped, without a slash at its end */
  readonly path: string
}

export interface LoginPlace {
  readonly container: string
  readonly url: URL
  readonly user: string
  readonly password: string
  readonly env: Environment
}

/** A Fault (EINVAL) where no container, or no server, is named. */
export function loginPlace({ bucket, accessKey, secretKey }: SwiftSetting, env: Environment): LoginPlace {
  const url = bucketUrl(bucket, () => 'https')
  const [container = '', ...rest] = url.hostname.split('.')
  if (rest.length === 0) {
    // a bare name: the environment says where it is
    if (!env.OS_AUTH_URL) throw new Fault(`bucket ${bucket} is not container.host`, { errno: EINVAL })
    const { href } = bucketUrl(env.OS_AUTH_URL, () => 'https')
    Object.assign(url, { href })
  } else url.hostname = rest.join('.')
  if (url.pathname === '/') url.pathname = '/auth/v1.0'
  return {
    container,
    url,
    user: accessKey || env.OS_USERNAME || '',
    password: secretKey || env.OS_PASSWORD || '',
    env,
  }
}

export async function logIn(http: HttpClient, place: LoginPlace): Promise<Account> {
  const doing = `log in to ${place.url.host} as ${place.user}`
  try {
    return await (/\/v3\/?$/.test(place.url.pathname) ? byKeystone(http, place) : byVersion1(http, place))
  } catch (error) {
    throw error instanceof Refused ? error : new Fault(doing, { cause: error })
  }
}

async function byVersion1(http: HttpClient, { url, user, password }: LoginPlace): Promise<Account> {
  const { status, headers } = await http.send({
    method: 'GET',
    origin: originOf(url),
    path: url.pathname,
    headers: { 'x-auth-user': user, 'x-auth-key': password },
  })
  if (status === 401 || status === 403) throw new Refused(`log in as ${user}`, `status ${status}`)
  const { 'x-auth-token': token, 'x-storage-url': storage } = headers
  if (status < 200 || status >= 300 || !token || !storage)
    throw new Fault(`no token in an answer with status ${status}`)
  return { token, ...addressOf(storage) }
}

interface KeystoneToken {
  readonly token?: {
    readonly catalog?: readonly {
      readonly type: string
      readonly endpoints: readonly { readonly interface: string; readonly region?: string; readonly url: string }[]
    }[]
  }
}

async function byKeystone(http: HttpClient, { url, user, password, env }: LoginPlace): Promise<Account> {
  const domain = (kind: 'USER' | 'PROJECT'): object => {
    const id = env[`OS_${kind}_DOMAIN_ID`]
    return id ? { id } : { name: env[`OS_${kind}_DOMAIN_NAME`] ?? 'Default' }
  }
  const project = env.OS_PROJECT_ID
    ? { id: env.OS_PROJECT_ID }
    : { name: env.OS_PROJECT_NAME ?? user, domain: domain('PROJECT') }
  const question = {
    auth: {
      identity: { methods: ['password'], password: { user: { name: user, password, domain: domain('USER') } } },
      scope: { project },
    },
  }
  const { status, headers, body } = await http.send({
    method: 'POST',
    origin: originOf(url),
    path: `${url.pathname.replace(/\/$/, '')}/auth/tokens`,
    headers: { 'content-type': 'application/json' },
    body: Buffer.from(JSON.stringify(question)),
  })
  if (status === 401 || status === 403) throw new Refused(`log in as ${user}`, `status ${status}`)
  const token = headers['x-subject-token']
  if (status !== 201 || !token) throw new Fault(`no token in an answer with status ${status}`)
  const { catalog = [] } = (JSON.parse(body.toString()) as KeystoneToken).token ?? {}
  const wanted = env.OS_INTERFACE ?? 'public'
  const endpoint = catalog
    .find(({ type }) => type === 'object-store')
    ?.endpoints.find(each => each.interface === wanted && (!env.OS_REGION_NAME || each.region === env.OS_REGION_NAME))
  if (!endpoint) throw new Fault(`no ${wanted} object-store in the catalogue`)
  return { token, ...addressOf(endpoint.url) }
}

function addressOf(text: string): Pick<Account, 'origin' | 'path'> {
  const url = new URL(text)
  return { origin: originOf(url), path: url.pathname.replace(/\/$/, '') }
}
