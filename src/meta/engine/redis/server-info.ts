/** What a server says of itself (INFO). Fields that it does not show, or may not, are null: then nobody checks them. */

export interface ServerInfo {
  readonly version: readonly [major: number, minor: number] | null
  readonly role: 'master' | 'slave' | null
  /** of a replica */
  readonly master: string | null
  readonly isLoading: boolean
  readonly isCluster: boolean | null
  readonly evictionPolicy: string | null
  readonly aofEnabled: boolean | null
  /** new with every start of the server */
  readonly runId: string | null
}

/** A connection's own identity: what was sent on an older one can be told apart, and ended on the server. */
export interface Session {
  readonly clientId: number | null
  readonly info: ServerInfo
}

export function parseInfo(text: string): ServerInfo {
  const fields = new Map(
    text
      .split(/\r?\n/)
      .filter(line => line.includes(':') && !line.startsWith('#'))
      .map(line => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]),
  )
  const version = /^(\d+)\.(\d+)/.exec(fields.get('redis_version') ?? '')
  const role = fields.get('role')
  const aof = fields.get('aof_enabled')
  return {
    version: version ? [Number(version[1]), Number(version[2])] : null,
    role: role === 'master' || role === 'slave' ? role : null,
    master: fields.has('master_host') ? `${fields.get('master_host')}:${fields.get('master_port')}` : null,
    isLoading: fields.get('loading') === '1',
    isCluster: fields.size === 0 ? null : fields.get('cluster_enabled') === '1',
    evictionPolicy: fields.get('maxmemory_policy') ?? null,
    aofEnabled: aof === undefined ? null : aof === '1',
    runId: fields.get('run_id') ?? null,
  }
}
