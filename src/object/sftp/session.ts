/** One SSH connection that all requests share; a new one when it is lost. SFTP numbers its requests, so many can be under way. */

import { readFileSync } from 'node:fs'
import ssh2, { type Client, type SFTPWrapper } from 'ssh2'
import { Fault } from '../../base/fault.ts'
import { Refused, Unreachable } from '../store.ts'
import { isKnownHost } from './known-hosts.ts'
import { authMethods, type Place } from './login.ts'

/** as ssh2 calls back */
export type Done<T> = (error: Error | null | undefined, value?: T) => void

const CONNECT_MS = 10_000
/** The server is asked whether it is there; after so many questions without an answer the connection is lost. */
const ALIVE_MS = 10_000
const ALIVE_COUNT = 3
/** While requests wait, one of them must be answered within so long: sshd may be well and the process that serves files hang. */
export const SILENCE_MS = 60_000

export class SftpSession {
  readonly #place: Place
  readonly #password: string
  readonly #env: Readonly<Record<string, string | undefined>>
  #sftp: Promise<SFTPWrapper> | null = null
  #client: Client | null = null
  #isClosed = false
  readonly #silenceMs: number
  /** requests without an answer */
  #unanswered = 0
  #silence: NodeJS.Timeout | undefined

  constructor(
    place: Place,
    password: string,
    env: Readonly<Record<string, string | undefined>>,
    silenceMs: number = SILENCE_MS,
  ) {
    this.#place = place
    this.#password = password
    this.#env = env
    this.#silenceMs = silenceMs
  }

  /** One request. Errors are those of SFTP, with its status as `code`, or a Fault where there is no connection. */
  async call<T>(start: (sftp: SFTPWrapper, done: Done<T>) => void): Promise<T> {
    if (this.#isClosed) throw new Fault('the store is closed')
    const sftp = await (this.#sftp ??= this.#connect())
    this.#unanswered++
    // The connection ends, and with it every request.
    this.#silence ??= setTimeout(() => this.#client?.destroy(), this.#silenceMs).unref()
    return new Promise((resolve, reject) => {
      start(sftp, (error, value) => {
        this.#heard()
        if (error) reject(error)
        else resolve(value as T)
      })
    })
  }

  #heard(): void {
    this.#unanswered--
    if (this.#unanswered > 0) return void this.#silence?.refresh()
    clearTimeout(this.#silence)
    this.#silence = undefined
  }

  close(): void {
    this.#isClosed = true
    this.#client?.end()
  }

  async #connect(): Promise<SFTPWrapper> {
    const client = new ssh2.Client()
    const { host, port, user } = this.#place
    try {
      const sftp = await this.#open(client)
      client.on('close', () => this.#forget(client))
      // The process behind it may end alone.
      sftp.on('close', () => {
        this.#forget(client)
        client.destroy()
      })
      this.#client = client
      if (this.#isClosed) client.end()
      return sftp
    } catch (error) {
      this.#sftp = null
      client.destroy()
      if ((error as { level?: string }).level === 'client-authentication') {
        throw new Refused(`log in to ${host} as ${user}`, error)
      }
      throw error instanceof Fault ? error : new Unreachable(`sftp://${host}:${port}`, error)
    }
  }

  #open(client: Client): Promise<SFTPWrapper> {
    const { host, port, user } = this.#place
    const knownHosts = this.#env.SSH_KNOWN_HOSTS
    return new Promise((resolve, reject) => {
      client.on('error', error => {
        this.#forget(client)
        reject(error)
      })
      client.on('close', () => reject(new Error('the server closed the connection')))
      client.on('ready', () => {
        // Requests are small, and each waits for an answer: without this, 40 ms of Nagle's algorithm each.
        client.setNoDelay(true)
        client.sftp((error, sftp) => (error ? reject(error) : resolve(sftp)))
      })
      const name = port === 22 ? host : `[${host}]:${port}`
      client.connect({
        host,
        port,
        username: user,
        readyTimeout: CONNECT_MS,
        keepaliveInterval: ALIVE_MS,
        keepaliveCountMax: ALIVE_COUNT,
        authHandler: authMethods(user, this.#password, this.#env),
        ...(knownHosts && {
          hostVerifier: (key: Buffer) => {
            const isKnown = isKnownHost(readFileSync(knownHosts, 'utf8'), name, key)
            if (!isKnown) reject(new Refused(`connect to ${name}`, `its host key is not in ${knownHosts}`))
            return isKnown
          },
        }),
      })
    })
  }

  #forget(client: Client): void {
    if (this.#client !== client) return
    this.#client = null
    this.#sftp = null
  }
}
