/** OpenStack Swift: proxy, account, container and object server with one device, and the memcached that keeps its tokens. */

import { execFileSync } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { programPath, type RunningProgram, skipWithout, startProgram } from './programs.ts'

export const SWIFT_USER = 'trial:tester'
export const SWIFT_KEY = 'se:cret'

const SERVERS = ['account', 'container', 'object'] as const

export const skipSwift = skipWithout('swift-proxy-server', ...SERVERS.map(name => `swift-${name}-server`), 'memcached')

/** Authentication of version 1 at `/auth/v1.0`. */
export async function startSwift(): Promise<RunningProgram> {
  const started: RunningProgram[] = []
  const start = async (...args: Parameters<typeof startProgram>): Promise<RunningProgram> => {
    const program = await startProgram(...args)
    started.push(program)
    return program
  }
  const stop = async (): Promise<void> => {
    for (const program of started.reverse()) await program.stop()
  }
  try {
    const memcached = await start({
      name: 'memcached',
      command: port => [programPath('memcached')!, '-l', '127.0.0.1', '-p', String(port), '-m', '16', '-u', 'root'],
    })
    const { dir } = memcached
    await mkdir(join(dir, 'devices', 'd1'), { recursive: true })
    const common = (port: number): string =>
      `[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = ${port}\nworkers = 0\nuser = ${userInfo().username}\nswift_dir = ${dir}\n`
    for (const name of SERVERS) {
      const server = await start({
        name: `swift-${name}`,
        waitMs: 60_000,
        async command(port, own) {
          const config = `${common(port)}devices = ${dir}/devices\nmount_check = false
            [pipeline:main]\npipeline = ${name}-server
            [app:${name}-server]\nuse = egg:swift#${name}`
          await writeFile(join(own, 'server.conf'), config.replace(/^ +/gm, ''))
          return [programPath(`swift-${name}-server`)!, join(own, 'server.conf')]
        },
      })
      const builder = [join(dir, `${name}.builder`)]
      const ring = (...args: string[]) =>
        execFileSync(programPath('swift-ring-builder')!, [...builder, ...args], { cwd: dir })
      ring('create', '2', '1', '0')
      ring('add', `r1z1-127.0.0.1:${server.port}/d1`, '1')
      ring('rebalance')
    }
    const proxy = await start({
      name: 'swift-proxy',
      waitMs: 60_000,
      async command(port, own) {
        const config = `${common(port)}
          [pipeline:main]\npipeline = catch_errors cache tempauth proxy-server
          [filter:catch_errors]\nuse = egg:swift#catch_errors
          [filter:cache]\nuse = egg:swift#memcache\nmemcache_servers = 127.0.0.1:${memcached.port}
          [filter:tempauth]\nuse = egg:swift#tempauth\nuser_trial_tester = ${SWIFT_KEY} .admin
          [app:proxy-server]\nuse = egg:swift#proxy\nallow_account_management = true\naccount_autocreate = true`
        await writeFile(join(own, 'proxy.conf'), config.replace(/^ +/gm, ''))
        return [programPath('swift-proxy-server')!, join(own, 'proxy.conf')]
      },
    })
    return { ...proxy, stop }
  } catch (error) {
    await stop()
    throw error
  }
}
