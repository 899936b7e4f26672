/** A server of the kernel's requests over a file system that answers what a test says, on plain buffers. */

import { type Ino, ROOT_INO } from '../../src/base/ino.ts'
import { silentLog } from '../../src/base/log.ts'
import * as K from '../../src/fuse/constants.ts'
import { FuseServer, type FuseServerOptions } from '../../src/fuse/serve.ts'
import { type Attr, TYPE_FILE } from '../../src/meta/model/attr.ts'
import type { Context, FileSystem } from '../../src/vfs/file-system.ts'
import { args, FakeTransport, INIT_ARGS } from './fake-transport.ts'

/** Every field has a value of its own. */
export const ATTR: Attr = {
  type: TYPE_FILE,
  flags: 0,
  mode: 0o4755,
  uid: 1001,
  gid: 1002,
  atime: { sec: 1_700_000_001, nsec: 1 },
  mtime: { sec: -2, nsec: 999_999_999 },
  ctime: { sec: 2 ** 33 + 5, nsec: 3 },
  nlink: 2,
  length: 2 ** 40 + 513,
  rdev: 0x801,
  parent: ROOT_INO,
  accessAcl: 0,
  defaultAcl: 0,
  tier: 0,
}
/** of an inode with such attributes */
export const ENTRY = { ino: 77 as Ino, attr: ATTR }

export interface Asked {
  readonly method: string
  readonly given: readonly unknown[]
}

/** Remembers what it was asked and answers what it was told to. */
export function scripted(
  answers: Record<string, unknown>,
  timeouts = { attr: 1.5, entry: 2, dirEntry: 3, negativeEntry: 0 },
) {
  const asked: Asked[] = []
  const fs = new Proxy({} as FileSystem, {
    get: (_, method: string) => {
      if (method === 'timeouts') return timeouts
      if (method === 'agreed') return answers.agreed
      return (_ctx: Context, ...given: unknown[]) => {
        const plain = given.filter(value => typeof value !== 'function')
        asked.push({ method, given: plain.map(value => (Buffer.isBuffer(value) ? value.toString('latin1') : value)) })
        const answer = answers[method]
        return typeof answer === 'function' ? answer(_ctx, ...given) : answer
      }
    },
  })
  return { fs, asked }
}

/** A server over such a file system, the first request answered. */
export function serving(
  answers: Record<string, unknown>,
  options: Partial<FuseServerOptions> = {},
  timeouts?: { attr: number; entry: number; dirEntry: number; negativeEntry: number },
  kernel = INIT_ARGS,
) {
  const transport = new FakeTransport()
  const { fs, asked } = scripted(answers, timeouts)
  const server = new FuseServer(transport, fs, {
    maxWrite: 1 << 20,
    acl: false,
    writebackCache: false,
    asyncDio: false,
    killPrivileges: false,
    log: silentLog,
    ...options,
  })
  void server.start()
  const init = transport.ask(K.INIT, 0n, kernel)
  return { transport, asked, server, init }
}

/** A turn of the event loop. */
export const later = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

/** of a lock of the process 55 on handle 9 */
export const lockArgs = (start: bigint, end: bigint, type: number, flags = 0): Buffer =>
  args(9n, 0x0123456789abcdefn, start, end, type, 55, flags, 0)
/** the end of every file */
export const LAST = 0x7fffffffffffffffn
