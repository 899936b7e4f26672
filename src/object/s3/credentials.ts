/** Who signs the requests: the keys of the setting, those of the vendor's environment variables, or what AWS's own tools would use
 *  (environment, profile, single sign-on, container, instance). */

import type { Clock } from '../../base/clock.ts'
import { EINVAL } from '../../base/errno.ts'
import { Fault } from '../../base/fault.ts'
import { VENDORS } from './vendors.ts'

export type Environment = Readonly<Record<string, string | undefined>>

export interface KeySetting {
  readonly accessKey?: string | undefined
  readonly secretKey?: string | undefined
  readonly sessionToken?: string | undefined
}

export interface Keys {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string
}

/** The keys of now; null: requests are not signed. `isExpired`: the store refused those of before as too old. */
export type CredentialSource = (isExpired: boolean) => Promise<Keys | null>

/** Keys with an end are replaced so long before it. */
const RENEW_MS = 300_000

/** Fault (EINVAL) where a key stands without its secret, or where there are none and the store is not one of AWS's kind. */
export function credentialSource(
  kind: string,
  setting: KeySetting,
  { env, clock }: { readonly env: Environment; readonly clock: Clock },
): CredentialSource {
  const { accessKey, secretKey, sessionToken } = setting.accessKey || setting.secretKey ? setting : ofVendor(kind, env)
  if (accessKey === 'anonymous') return async () => null
  if (accessKey && secretKey) {
    const keys = { accessKeyId: accessKey, secretAccessKey: secretKey, ...(sessionToken && { sessionToken }) }
    return async () => keys
  }
  if (accessKey || secretKey) {
    throw new Fault(`the ${accessKey ? 'secret' : 'access'} key of storage ${kind} is missing`, { errno: EINVAL })
  }
  if (kind !== 's3') {
    const variables = VENDORS[kind]?.keyVariables
    const hint = variables ? `, nor are ${variables.slice(0, 2).join(' and ')} set` : ''
    throw new Fault(`storage ${kind} has no keys: neither --access-key and --secret-key are given${hint}`, {
      errno: EINVAL,
    })
  }
  return chainOfAws(clock)
}

function ofVendor(kind: string, env: Environment): KeySetting {
  const [accessKey, secretKey, sessionToken] = (VENDORS[kind]?.keyVariables ?? []).map(name => env[name])
  return { accessKey, secretKey, sessionToken }
}

function chainOfAws(clock: Clock): CredentialSource {
  let found: Promise<Keys> | undefined
  let expiresMs = Number.POSITIVE_INFINITY
  const ask = async (): Promise<Keys> => {
    const { defaultProvider } = await import('@aws-sdk/credential-provider-node')
    try {
      const keys = await defaultProvider()()
      expiresMs = keys.expiration?.getTime() ?? Number.POSITIVE_INFINITY
      return keys
    } catch (error) {
      found = undefined
      throw new Fault('find credentials of AWS: no keys were given, and none were found where AWS keeps them', {
        cause: error,
      })
    }
  }
  return isExpired => {
    if (isExpired || clock.now().sec * 1000 > expiresMs - RENEW_MS) found = undefined
    return (found ??= ask())
  }
}
