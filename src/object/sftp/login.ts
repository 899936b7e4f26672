/** How a user proves to an SSH server who it is, in the order of the reference client (spec data-objects section 4): private keys,
 *  the agent, the password. Nobody is asked at a terminal: the mount runs without one. */

import { readFileSync } from 'node:fs'
import { homedir, userInfo } from 'node:os'
import { join } from 'node:path'
import ssh2, { type AnyAuthMethod } from 'ssh2'
import { EINVAL, errnoOf } from '../../base/errno.ts'
import { Fault } from '../../base/fault.ts'

export interface Place {
  readonly host: string
  readonly port: number
  readonly user: string
  /** what stands before every key; without a slash at its end it is the beginning of names */
  readonly root: string
}

type Environment = Readonly<Record<string, string | undefined>>

/** `[user@]host[:port]:path`. A Fault (EINVAL) where it is not. */
export function placeOf(bucket: string, user: string | undefined): Place {
  const text = bucket.replace(/^sftp:\/\//, '')
  const colon = text.lastIndexOf(':')
  const [, login, bracketed, plain, port] =
    /^(?:(.*)@)?(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(text.slice(0, colon)) ?? []
  const host = bracketed ?? plain
  if (colon < 0 || host === undefined) throw new Fault(`bucket ${bucket} is not host[:port]:path`, { errno: EINVAL })
  const root = text.slice(colon + 1)
  return { host, port: Number(port ?? 22), user: user || login || userInfo().username, root: root === '' ? './' : root }
}

const KEY_NAMES = ['rsa', 'dsa', 'ecdsa', 'ecdsa_sk', 'ed25519', 'xmss']

/** A Fault where the key file of the environment cannot be read; keys found by themselves are left out when they cannot. */
export function authMethods(username: string, password: string, env: Environment): AnyAuthMethod[] {
  const methods: AnyAuthMethod[] = []
  const named = env.SSH_PRIVATE_KEY_PATH
  if (named) methods.push({ type: 'publickey', username, key: readKey(named) })
  else {
    for (const name of KEY_NAMES) {
      try {
        methods.push({ type: 'publickey', username, key: readKey(join(homedir(), '.ssh', `id_${name}`)) })
      } catch {
        // most people have one of them, some locked by a passphrase that only their agent knows
      }
    }
  }
  if (env.SSH_AUTH_SOCK) methods.push({ type: 'agent', username, agent: env.SSH_AUTH_SOCK })
  if (password !== '') {
    methods.push({ type: 'password', username, password })
    methods.push({
      type: 'keyboard-interactive',
      username,
      prompt: (_name, _instructions, _lang, prompts, answer) => answer(prompts.map(() => password)),
    })
  }
  return methods
}

function readKey(path: string): Buffer {
  try {
    const key = readFileSync(path)
    const parsed = ssh2.utils.parseKey(key)
    if (parsed instanceof Error) throw parsed
    return key
  } catch (error) {
    throw new Fault(`read the private key ${path}`, { errno: errnoOf(error), cause: error })
  }
}
