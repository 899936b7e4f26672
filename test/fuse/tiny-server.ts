/** Serves the tiny file system at the given mount point until SIGTERM or an unmount; then says what is left over. */

import { openLog } from '../../src/base/log.ts'
import { mountFuse } from '../../src/fuse/mount.ts'
import { FuseServer } from '../../src/fuse/serve.ts'
import { unmountFuse } from '../../src/fuse/unmount.ts'
import { TinyFileSystem } from './tiny-fs.ts'

const mountPoint = process.argv[2]!
const maxWrite = 1 << 18
const log = openLog({ level: 'DEBUG', colour: false, id: '', write: line => process.stderr.write(line) })
const transport = await mountFuse({
  mountPoint,
  source: 'JuiceFS:tiny',
  options: ['ro'],
  allowOther: process.getuid?.() === 0,
  defaultPermissions: true,
  maxWrite,
  log,
})
const server = new FuseServer(transport, new TinyFileSystem(), {
  maxWrite,
  acl: false,
  writebackCache: false,
  asyncDio: false,
  log,
})
await server.start()
process.on('SIGTERM', () => void unmountFuse(mountPoint, { lazy: true }))
process.on('SIGUSR2', () => {
  server.invalidator.entry(1 as never, 'stale')
  void server.invalidator.inode(1 as never, -1, 0)
})
let lastTick = performance.now()
let longestPauseMs = 0
setInterval(() => {
  const now = performance.now()
  longestPauseMs = Math.max(longestPauseMs, now - lastTick)
  lastTick = now
}, 5).unref()
process.stdout.write(`ready ${transport.kind}\n`)
await server.closed
await server.drain()
process.stdout.write(
  `closed, in flight ${server.inFlight}, held ${transport.heldCount}, longest pause ${longestPauseMs.toFixed(0)} ms\n`,
)
