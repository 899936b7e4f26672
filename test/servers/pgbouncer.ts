/** A real pgbouncer in front of a PostgreSQL server, in transaction mode: each transaction meets another server process, and
 *  none that knows a prepared statement. */

import { spawnSync } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { PostgresServer } from './postgres.ts'
import { programPath, type RunningProgram, skipWithout, startProgram } from './programs.ts'

/** Why tests with it are skipped; false where they are not. */
export const pgbouncerSkip = skipWithout('pgbouncer')

/** `poolSize`: connections to the server a database. Whoever comes is that user of the server; in the password ' is doubled. */
export function startPgbouncer(
  server: PostgresServer,
  poolSize: number,
  user = 'postgres',
  password = 'secret',
): Promise<RunningProgram> {
  return startProgram({
    name: 'pgbouncer',
    command: (port, dir) => {
      const settings = join(dir, 'pgbouncer.ini')
      writeFileSync(
        settings,
        `[databases]
* = host=127.0.0.1 port=${server.port} user=${user} password='${password}'
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = ${poolSize}
ignore_startup_parameters = extra_float_digits
`,
      )
      // It refuses to run as root, and reads its settings as who it is then.
      chmodSync(dir, 0o755)
      const program = programPath('pgbouncer')!
      if (process.getuid?.() !== 0) return [program, settings]
      spawnSync('chown', ['-R', 'postgres', dir])
      return ['setpriv', '--reuid=postgres', '--regid=postgres', '--clear-groups', program, settings]
    },
  })
}
