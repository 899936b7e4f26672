/** The conversation with the kernel around the single requests: its beginning, failures, interrupts, notifications, its end. */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { EACCES, EAGAIN, EINTR, EINVAL, EIO, ENODATA, ENOENT } from '../../src/base/errno.ts'
import { Fault } from '../../src/base/fault.ts'
import { type Ino, TRASH_INO } from '../../src/base/ino.ts'
import { type Log, silentLog } from '../../src/base/log.ts'
import * as K from '../../src/fuse/constants.ts'
import { FuseServer } from '../../src/fuse/serve.ts'
import type { Context, KernelAbilities } from '../../src/vfs/file-system.ts'
import { args, FakeTransport, INIT_ARGS } from './fake-transport.ts'
import { type Asked, ATTR, LAST, later, lockArgs, scripted, serving } from './scripted-server.ts'

const noReply = Buffer.alloc(0)

describe('INIT', () => {
  test('takes what both sides know, and says our sizes', () => {
    const { init } = serving({})
    const u32 = new Uint32Array(init.payload.buffer.slice(init.payload.byteOffset, init.payload.byteOffset + 64))
    assert.equal(init.payload.length, 64)
    assert.deepEqual([...u32.subarray(0, 3)], [7, 45, 131_072])
    assert.equal(u32[4], 64 | (48 << 16))
    assert.deepEqual([...u32.subarray(5, 9)], [1 << 20, 1, 256, K.DIRECT_IO_ALLOW_MMAP])
    const flags = u32[3]!
    for (const wanted of [
      K.BIG_WRITES,
      K.MAX_PAGES,
      K.FLOCK_LOCKS,
      K.POSIX_LOCKS,
      K.PARALLEL_DIROPS,
      K.INIT_EXT,
      K.CACHE_SYMLINKS,
    ])
      assert.ok(flags & wanted)
    for (const refused of [K.WRITEBACK_CACHE, K.POSIX_ACL, K.DONT_MASK, K.ASYNC_DIO, 1 << 3, 1 << 17])
      assert.ok(!(flags & refused))
  })
  test('ACLs and the writeback cache are taken when they are asked for', () => {
    const { init } = serving({}, { acl: true, writebackCache: true, asyncDio: true, readdirplus: false })
    const flags = init.payload.readUInt32LE(12)
    for (const wanted of [K.WRITEBACK_CACHE, K.POSIX_ACL, K.DONT_MASK, K.ASYNC_DIO]) assert.ok(flags & wanted)
    assert.ok(!(flags & K.DO_READDIRPLUS))
  })
  test('the file system hears whether written handles may pass by the pages', () => {
    const drops: boolean[] = []
    const agreed = ({ dropsOverwrittenPages }: KernelAbilities): void => void drops.push(dropsOverwrittenPages)
    serving({ agreed })
    serving({ agreed }, { writebackCache: true })
    serving({ agreed }, {}, undefined, args(7, 38, 65_536, 0x7fffffff, 0xf, ...new Array<number>(11).fill(0)))
    assert.deepEqual(drops, [true, false, false])
  })
  test('an older kernel gets its own version, no second word of flags and the short SETXATTR', () => {
    const transport = new FakeTransport()
    const { fs, asked } = scripted({ setxattr: undefined })
    const server = new FuseServer(transport, fs, {
      maxWrite: 131_072,
      acl: false,
      writebackCache: false,
      asyncDio: false,
      log: silentLog,
    })
    void server.start()
    const { payload } = transport.ask(K.INIT, 0n, args(7, 31, 65_536, 0x0fffffff))
    assert.equal(payload.readUInt32LE(4), 31)
    assert.equal(payload.readUInt32LE(8), 65_536)
    assert.equal(payload.readUInt32LE(32), 0)
    transport.ask(K.SETXATTR, 5n, args(3, 1, 'user.x', Buffer.from('abc')))
    assert.deepEqual(asked[0]!.given, [5, 'user.x', 'abc', 1])
  })
  test('a kernel that is too old is refused, and start says so', async () => {
    const transport = new FakeTransport()
    const server = new FuseServer(transport, scripted({}).fs, {
      maxWrite: 131_072,
      acl: false,
      writebackCache: false,
      asyncDio: false,
      log: silentLog,
    })
    const started = server.start()
    assert.equal(transport.ask(K.INIT, 0n, args(7, 12, 65_536, 0)).errno, EINVAL)
    await assert.rejects(started, /older than 7\.31/)
  })
  test('a newer major version is asked to come again in ours', () => {
    const transport = new FakeTransport()
    const server = new FuseServer(transport, scripted({}).fs, {
      maxWrite: 131_072,
      acl: false,
      writebackCache: false,
      asyncDio: false,
      log: silentLog,
    })
    void server.start()
    const { errno, payload } = transport.ask(K.INIT, 0n, args(8, 0, 65_536, 0))
    assert.equal(errno, 0)
    assert.equal(payload.readUInt32LE(0), 7)
    assert.equal(transport.ask(K.INIT, 0n, INIT_ARGS).payload.readUInt32LE(4), 45)
  })
})

describe('a write that is accepted', () => {
  const WRITE = args(9n, 0n, 1, 0, 0n, 0, 0, Buffer.from('x'))
  type Accepted = () => void
  const accepted = (given: unknown[]): Accepted => given.find(value => typeof value === 'function') as Accepted

  test('is answered before the bytes are copied, and once', () => {
    let repliesWhileCopying = 0
    const { transport } = serving({
      write: (_ctx: Context, ...given: unknown[]) => {
        accepted(given)()
        repliesWhileCopying = transport.replies.length
      },
    })
    const unique = transport.send(K.WRITE, 5n, WRITE)
    assert.equal(repliesWhileCopying, 1)
    assert.deepEqual(transport.replies, [{ unique, errno: 0, payload: args(1, 0) }])
  })
  test('and fails after all is logged, since it cannot be answered again', () => {
    const errors: string[] = []
    const { transport } = serving(
      {
        write: (_ctx: Context, ...given: unknown[]) => {
          accepted(given)()
          throw new Fault('no memory')
        },
      },
      { log: { ...silentLog, error: message => errors.push(message) } },
    )
    transport.send(K.WRITE, 5n, WRITE)
    assert.deepEqual(
      transport.replies.map(reply => reply.errno),
      [0],
    )
    assert.deepEqual(errors, ['write of inode 5: no memory (EIO)'])
  })
})

describe('failures', () => {
  function logging() {
    const errors: string[] = []
    const log: Log = { ...silentLog, error: message => errors.push(message) }
    return { errors, log }
  }
  test('a fault is answered with its errno and logged with operation, inode and cause', async () => {
    const { errors, log } = logging()
    const fault = () => {
      throw new Fault('read block 3', { errno: EACCES, cause: new Error('denied') })
    }
    const { transport } = serving({ read: fault, write: () => later().then(fault) }, { log })
    assert.equal(transport.ask(K.READ, 5n, args(9n, 0n, 10, 0, 0n, 0, 0)).errno, EACCES)
    transport.send(K.WRITE, 5n, args(9n, 0n, 1, 0, 0n, 0, 0, Buffer.from('x')))
    assert.equal(transport.heldCount, 1)
    await later()
    await later()
    assert.equal(transport.replies.pop()!.errno, EACCES)
    assert.equal(transport.heldCount, 0)
    assert.deepEqual(errors, [
      'read of inode 5: read block 3: denied (EACCES)',
      'write of inode 5: read block 3: denied (EACCES)',
    ])
  })
  test('anything else that is thrown is a bug: EIO and its stack', () => {
    const { errors, log } = logging()
    const { transport } = serving(
      {
        lookup: () => {
          throw new RangeError('oops')
        },
      },
      { log },
    )
    assert.equal(transport.ask(K.LOOKUP, 1n, args('x')).errno, EIO)
    assert.match(errors[0]!, /lookup of inode 1: RangeError: oops\n {4}at /)
  })
  test('more data than was asked for is never sent', () => {
    const { errors, log } = logging()
    const { transport } = serving({ read: [Buffer.alloc(11)] }, { log })
    assert.equal(transport.ask(K.READ, 5n, args(9n, 0n, 10, 0, 0n, 0, 0)).errno, EIO)
    assert.equal(errors.length, 1)
  })
  test('a reply that nobody waits for is not an error, one that the kernel cannot read is', () => {
    const { errors, log } = logging()
    const { transport } = serving({ unlink: undefined }, { log })
    transport.refuseWith = ENOENT
    transport.send(K.UNLINK, 5n, args('x'))
    assert.deepEqual(errors, [])
    transport.refuseWith = EINVAL
    transport.send(K.UNLINK, 5n, args('x'))
    assert.match(errors[0]!, /refused the answer to request unlink of inode 5: EINVAL/)
  })
})

describe('INTERRUPT', () => {
  function blocked() {
    let seen: Context | null = null
    const wait = (ctx: Context) => {
      seen = ctx
      return new Promise(resolve => ctx.onCancel(() => resolve(EINTR)))
    }
    const made = serving({ setlk: wait, read: wait })
    return { ...made, context: () => seen! }
  }
  test('ends a wait for a lock at once', async () => {
    const { transport, server, context } = blocked()
    const unique = transport.send(K.SETLKW, 5n, lockArgs(0n, LAST, 1))
    assert.equal(server.inFlight, 1)
    assert.equal(transport.heldCount, 0, 'a waiter holds no memory')
    transport.send(K.INTERRUPT, 0n, args(BigInt(unique)))
    assert.equal(context().cancelled, true)
    await later()
    assert.deepEqual(transport.replies, [{ unique, errno: EINTR, payload: noReply }])
    assert.equal(server.inFlight, 0)
    await server.drain()
  })
  test('is not shown to a read that has only just begun: its signal may be one that does not kill', async () => {
    const { transport, context } = blocked()
    const unique = transport.send(K.READ, 5n, args(9n, 0n, 10, 0, 0n, 0, 0))
    transport.send(K.INTERRUPT, 0n, args(BigInt(unique)))
    assert.equal(context().cancelled, false)
    assert.deepEqual(transport.replies, [])
  })
  test('of a request that has not come yet is answered EAGAIN, so that the kernel repeats it', () => {
    const { transport } = blocked()
    assert.equal(transport.ask(K.INTERRUPT, 0n, args(998n)).errno, EAGAIN)
  })
})

describe('notifications', () => {
  test('are spelled as the kernel reads them', async () => {
    const { transport, server } = serving({})
    await server.invalidator.inode(TRASH_INO, -1, 0)
    server.invalidator.inode(5 as Ino, 4096, 8192)
    server.invalidator.entry(1 as Ino, 'na\xffme')
    for (let i = 0; i < 5; i++) await later()
    assert.deepEqual(transport.notifications, [
      args(40, 2, 0n, 0x7fffffff10000000n, -1n, 0n),
      args(40, 2, 0n, 5n, 4096n, 8192n),
      args(38, 3, 0n, 1n, 5, 0, 'na\xffme'),
    ])
  })
  test('leave one at a time, and attributes do not wait behind a locked directory', async () => {
    const { transport, server } = serving({})
    let open = (): void => {}
    transport.notifyGate = new Promise<void>(resolve => {
      open = resolve
    })
    server.invalidator.entry(1 as Ino, 'a')
    server.invalidator.entry(1 as Ino, 'b')
    await later()
    assert.equal(transport.notifications.length, 1)
    transport.notifyGate = Promise.resolve()
    await server.invalidator.inode(5 as Ino, -1, 0)
    assert.equal(transport.notifications.length, 2)
    open()
    await later()
    assert.equal(transport.notifications.length, 3)
  })
})

describe('privileges of a file that is written', () => {
  const KILL = 1 << 2
  const write = (flags: number): Buffer => args(9n, 0n, 1, flags, 0n, 0, 0, Buffer.from('x'))
  const modes = (asked: readonly Asked[]): unknown[] => asked.filter(a => a.method === 'setattr').map(a => a.given[1])

  test('are taken away before the write, once a handle, and looked at again after a change of mode', () => {
    const answers: Record<string, unknown> = {
      getattr: { ...ATTR, mode: 0o6755 },
      setattr: ATTR,
      getxattr: ENODATA,
      write: undefined,
    }
    const { transport, asked } = serving(answers, { killPrivileges: true })
    transport.ask(K.WRITE, 5n, write(0))
    assert.deepEqual(
      asked.map(a => a.method),
      ['write'],
    )
    asked.length = 0
    transport.ask(K.WRITE, 5n, write(KILL))
    assert.deepEqual(
      asked.map(a => a.method),
      ['getattr', 'setattr', 'getxattr', 'write'],
    )
    assert.deepEqual(modes(asked), [{ mode: 0o755 }])
    asked.length = 0
    transport.ask(K.WRITE, 5n, write(KILL))
    assert.deepEqual(
      asked.map(a => a.method),
      ['write'],
    )
    transport.ask(K.SETATTR, 5n, args(1, 0, 0n, 0n, 0n, 0n, 0n, 0n, 0, 0, 0, 0o4755, 0, 0, 0, 0))
    asked.length = 0
    transport.ask(K.WRITE, 5n, write(KILL))
    assert.deepEqual(
      asked.map(a => a.method),
      ['getattr', 'setattr', 'getxattr', 'write'],
    )
  })
  test('set-group-id without the right to execute stays, capabilities go', () => {
    const { transport, asked } = serving(
      { getattr: { ...ATTR, mode: 0o2644 }, getxattr: Buffer.from('cap'), removexattr: undefined, write: undefined },
      { killPrivileges: true },
    )
    transport.ask(K.WRITE, 5n, write(KILL))
    assert.deepEqual(
      asked.map(a => a.method),
      ['getattr', 'getxattr', 'removexattr', 'write'],
    )
  })
  test('a truncation that says so takes them away, too', () => {
    const { transport, asked } = serving(
      { setattr: { ...ATTR, mode: 0o4711 }, getxattr: ENODATA },
      { killPrivileges: true },
    )
    transport.ask(K.SETATTR, 5n, args(0x808, 0, 0n, 0n, 0n, 0n, 0n, 0n, 0, 0, 0, 0, 0, 0, 0, 0))
    assert.deepEqual(modes(asked), [{ size: 0 }, { mode: 0o711 }])
  })
})

test('the end of the mount cancels what waits and resolves closed', async () => {
  let cancelled = false
  const { transport, server } = serving({
    setlk: (ctx: Context) =>
      new Promise(resolve =>
        ctx.onCancel(() => {
          cancelled = true
          resolve(EINTR)
        }),
      ),
  })
  transport.send(K.SETLKW, 5n, lockArgs(0n, LAST, 1))
  transport.end(19)
  await server.closed
  await server.drain()
  assert.equal(cancelled, true)
  assert.equal(transport.isClosed, true)
})

test('every request is reported with its name and errno', () => {
  const seen: [string, number][] = []
  const { transport } = serving(
    { lookup: ENOENT, unlink: undefined },
    { onRequest: (name, micros, errno) => micros >= 0 && seen.push([name, errno]) },
  )
  transport.ask(K.LOOKUP, 1n, args('x'))
  transport.ask(K.UNLINK, 1n, args('x'))
  assert.deepEqual(seen, [
    ['lookup', ENOENT],
    ['unlink', 0],
  ])
})
