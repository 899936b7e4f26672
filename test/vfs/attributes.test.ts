import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { SystemClock } from '../../src/base/clock.ts'
import {
  EACCES,
  EBADF,
  EINVAL,
  ENODATA,
  ENOSYS,
  ENOTSUP,
  ENOTTY,
  EPERM,
  ERANGE,
  isErrno,
} from '../../src/base/errno.ts'
import { ROOT_INO } from '../../src/base/ino.ts'
import type { LockOwner, Plock } from '../../src/meta/meta.ts'
import { Callers } from '../../src/vfs/callers.ts'
import { DEFAULT_VFS_CONFIG } from '../../src/vfs/config.ts'
import { flockOwner } from '../../src/vfs/lock-owners.ts'
import { close, create, O_RDONLY, ok, open, openVolume, ROOT, type TestFile, user, type Volume } from './harness.ts'

const ALL: Pick<Plock, 'start' | 'end' | 'pid'> = { start: 0, end: Number.MAX_SAFE_INTEGER, pid: 1 }
const A: LockOwner = '00000000000000aa'
const B: LockOwner = 'ffffffff000000bb'

describe('who asks', () => {
  const clock = new SystemClock()
  const groups = () => [10, 20]

  it('is taken at its word when the kernel checks permissions', () => {
    const caller = new Callers(clock, DEFAULT_VFS_CONFIG, groups).of(user(5, 6))
    assert.deepEqual([caller.uid, caller.gid, caller.gids, caller.check], [5, 6, [6], false])
  })

  it('is checked here with all its groups when the kernel does not', () => {
    const caller = new Callers(clock, { ...DEFAULT_VFS_CONFIG, checkPermissions: true }, groups).of(user(5, 6))
    assert.deepEqual([caller.gids, caller.check], [[6, 10, 20], true])
  })

  it('is nobody when squashed: root alone, or everybody', () => {
    const nobody = { uid: 65534, gid: 65534 }
    const root = new Callers(clock, { ...DEFAULT_VFS_CONFIG, rootSquash: nobody }, groups)
    assert.deepEqual([root.of(user(0)).uid, root.of(user(0)).check], [65534, true])
    assert.deepEqual([root.of(user(7)).uid, root.of(user(7)).check], [7, false])
    const all = new Callers(clock, { ...DEFAULT_VFS_CONFIG, rootSquash: nobody, allSquash: { uid: 9, gid: 8 } }, groups)
    assert.deepEqual([all.of(user(7)).uid, all.of(user(0)).gids], [9, [8]])
  })

  it('asks /proc once in five minutes for a process', () => {
    let asked = 0
    const callers = new Callers(clock, { ...DEFAULT_VFS_CONFIG, checkPermissions: true }, () => {
      asked++
      return []
    })
    for (let i = 0; i < 10; i++) callers.of(user(5))
    assert.equal(asked, 1)
  })

  it('a squashed root may not read what nobody may not', async () => {
    const v = await openVolume()
    const f = await create(v, 'f')
    await ok(v.vfs.setattr(ROOT, f.ino, { mode: 0o600 }, null))
    const s = await openVolume({ engine: v.engine, store: v.store, config: { rootSquash: { uid: 65534, gid: 65534 } } })
    assert.equal(await s.vfs.open(ROOT, f.ino, O_RDONLY), EACCES)
    await Promise.all([v.close(), s.close()])
  })
})

describe('modes', () => {
  it('the umask of the request counts, unless the mount has its own', async () => {
    const v = await openVolume()
    const made = await ok(v.vfs.create(ROOT, ROOT_INO, 'f', 0o100666, 0o027, 2))
    assert.equal(made.attr.mode, 0o640)
    await v.close()
    const own = await openVolume({ config: { umask: 0o002 } })
    const dir = await ok(own.vfs.mkdir(ROOT, ROOT_INO, 'd', 0o777, 0o077))
    assert.equal(dir.attr.mode, 0o775)
    await own.close()
  })

  it('size and other attributes may be set in one request', async () => {
    const v = await openVolume()
    const f = await create(v, 'f')
    const attr = await ok(v.vfs.setattr(ROOT, f.ino, { size: 5, mode: 0o600 }, f.fh))
    assert.deepEqual([attr.length, attr.mode], [5, 0o600])
    const r = await open(v, f.ino, O_RDONLY)
    assert.equal(await v.vfs.setattr(ROOT, f.ino, { size: 6 }, r.fh), EACCES)
    await v.close()
  })

  it('an unnamed file lives by its handle and can be given a name', async () => {
    const v = await openVolume()
    const t = await ok(v.vfs.tmpfile(ROOT, ROOT_INO, 0o100600, 0, 2))
    assert.equal(t.attr.nlink, 0)
    const named = await ok(v.vfs.link(ROOT, t.ino, ROOT_INO, 'named'))
    assert.equal(named.attr.nlink, 1)
    await close(v, t)
    assert.equal((await ok(v.vfs.lookup(ROOT, ROOT_INO, 'named'))).ino, t.ino)
    await v.close()
  })
})

describe('extended attributes', () => {
  const get = (v: Volume, f: TestFile, name: string) => v.vfs.getxattr(ROOT, f.ino, name)
  const set = (v: Volume, f: TestFile, name: string, value: Buffer | string, flags = 0) =>
    v.vfs.setxattr(ROOT, f.ino, name, Buffer.from(value), flags)

  it('are ENOSYS where the mount does not offer them', async () => {
    const v = await openVolume()
    const f = await create(v, 'f')
    assert.equal(await set(v, f, 'user.a', 'x'), ENOSYS)
    assert.equal(await get(v, f, 'user.a'), ENOSYS)
    assert.equal(await v.vfs.listxattr(ROOT, f.ino), ENOSYS)
    assert.equal(await v.vfs.removexattr(ROOT, f.ino, 'user.a'), ENOSYS)
    await v.close()
  })

  it('are kept, listed and removed, within their limits', async () => {
    const v = await openVolume({ config: { enableXattr: true } })
    const f = await create(v, 'f')
    await ok(set(v, f, 'user.a', 'x'))
    assert.equal((await ok(get(v, f, 'user.a'))).toString(), 'x')
    assert.deepEqual(await ok(v.vfs.listxattr(ROOT, f.ino)), ['user.a'])
    assert.equal(await set(v, f, '', 'x'), EINVAL)
    assert.equal(await set(v, f, 'user.'.padEnd(256, 'x'), 'x'), ERANGE)
    assert.equal(await set(v, f, 'user.b', Buffer.alloc(65_537)), ERANGE)
    await ok(set(v, f, 'user.b', Buffer.alloc(65_536)))
    await ok(v.vfs.removexattr(ROOT, f.ino, 'user.a'))
    assert.equal(await get(v, f, 'user.a'), ENODATA)
    await v.close()
  })

  it('of the system need their switches', async () => {
    const v = await openVolume({ config: { enableXattr: true, enableCap: true } })
    const f = await create(v, 'f')
    await ok(set(v, f, 'security.capability', 'x'))
    for (const name of ['security.selinux', 'system.posix_acl_access']) {
      assert.equal(await set(v, f, name, 'x'), ENOTSUP)
      assert.equal(await v.vfs.removexattr(ROOT, f.ino, name), ENOTSUP)
      assert.equal(await get(v, f, name), ENODATA)
    }
    await v.close()
  })

  it('ACLs go in and come out in the form of the kernel', async () => {
    const v = await openVolume({ acl: true, config: { acl: true } })
    const f = await create(v, 'f')
    const name = 'system.posix_acl_access'
    const entries = [
      [1, 6, 0xffffffff],
      [2, 7, 1000],
      [4, 4, 0xffffffff],
      [0x10, 7, 0xffffffff],
      [0x20, 0, 0xffffffff],
    ] as const
    const value = Buffer.alloc(4 + 8 * entries.length)
    value.writeUInt32LE(2, 0)
    for (const [i, [tag, perm, id]] of entries.entries()) {
      value.writeUInt16LE(tag, 4 + 8 * i)
      value.writeUInt16LE(perm, 6 + 8 * i)
      value.writeUInt32LE(id, 8 + 8 * i)
    }
    assert.equal(await get(v, f, name), ENODATA)
    await ok(set(v, f, name, value))
    assert.deepEqual(await ok(get(v, f, name)), value)
    assert.equal((await ok(v.vfs.getattr(ROOT, f.ino, null))).mode, 0o670)
    assert.equal(await set(v, f, name, 'rubbish'), EINVAL)
    await ok(v.vfs.removexattr(ROOT, f.ino, name))
    assert.equal(await get(v, f, name), ENODATA)
    await v.close()
  })
})

describe('ioctl', () => {
  const GETFLAGS = 0x80086601
  const SETFLAGS = 0x40086602

  it('sets and shows the flags of chattr', async () => {
    const v = await openVolume({ config: { enableIoctl: true } })
    const f = await create(v, 'f')
    const value = Buffer.alloc(8)
    value.writeUInt32LE(0x31, 0)
    await ok(v.vfs.ioctl(ROOT, f.ino, f.fh, SETFLAGS, value, 0))
    assert.deepEqual(await ok(v.vfs.ioctl(ROOT, f.ino, f.fh, GETFLAGS, Buffer.alloc(0), 8)), value)
    const xattr = await ok(v.vfs.ioctl(ROOT, f.ino, f.fh, 0x801c581f, Buffer.alloc(0), 28))
    assert.equal(xattr.readUInt32LE(0), 0x18)
    assert.equal(await v.vfs.unlink(ROOT, ROOT_INO, 'f'), EPERM)
    await v.close()
  })

  it('takes and gives the flags in an int as well as in a long: newer kernels pass an int', async () => {
    const v = await openVolume({ config: { enableIoctl: true } })
    const f = await create(v, 'f')
    const value = Buffer.alloc(4)
    value.writeUInt32LE(0x10, 0)
    await ok(v.vfs.ioctl(ROOT, f.ino, f.fh, SETFLAGS, value, 0))
    const flags = await ok(v.vfs.ioctl(ROOT, f.ino, f.fh, GETFLAGS, Buffer.alloc(0), 4))
    assert.deepEqual([flags.length, flags.readUInt32LE(0)], [4, 0x10])
    await v.close()
  })

  it('refuses other flags, commands and sizes', async () => {
    const v = await openVolume({ config: { enableIoctl: true } })
    const f = await create(v, 'f')
    const value = Buffer.alloc(8)
    value.writeUInt32LE(0x40, 0)
    assert.equal(await v.vfs.ioctl(ROOT, f.ino, f.fh, SETFLAGS, value, 0), ENOTSUP)
    assert.equal(await v.vfs.ioctl(ROOT, f.ino, f.fh, SETFLAGS, Buffer.alloc(2), 0), EINVAL)
    assert.equal(await v.vfs.ioctl(ROOT, f.ino, f.fh, GETFLAGS, Buffer.alloc(0), 28), EINVAL)
    assert.equal(await v.vfs.ioctl(ROOT, f.ino, f.fh, 0x5401, Buffer.alloc(0), 0), ENOTTY)
    await v.close()
    const off = await openVolume()
    assert.equal(await off.vfs.ioctl(ROOT, f.ino, 1, GETFLAGS, Buffer.alloc(0), 8), ENOSYS)
    await off.close()
  })
})

describe('locks', () => {
  const lock = (v: Volume, f: TestFile, owner: LockOwner, type: Plock['type'], flock = false) =>
    v.vfs.setlk(ROOT, f.ino, f.fh, owner, { ...ALL, type }, false, flock)

  it('the owner of a BSD lock is the owner XOR the handle, in all 64 bits', () => {
    assert.equal(flockOwner('ffffffff00000001', 3), 'ffffffff00000002')
    assert.equal(flockOwner('0000000180000000', 2 ** 32), '0000000080000000')
  })

  it('a process loses its POSIX locks on a file with its first close of it, others keep theirs', async () => {
    const v = await openVolume()
    const f = await create(v, 'f')
    const g = await open(v, f.ino)
    await ok(lock(v, f, A, 'W'))
    assert.ok(isErrno(await lock(v, g, B, 'W')))
    await ok(v.vfs.flush(ROOT, f.ino, g.fh, B))
    assert.ok(isErrno(await lock(v, g, B, 'R')))
    await ok(v.vfs.flush(ROOT, f.ino, g.fh, A))
    await ok(lock(v, g, B, 'W'))
    await v.close()
  })

  it('a close asks the metadata for no unlock where nobody locked', async () => {
    const v = await openVolume()
    const f = await create(v, 'f')
    let asked = 0
    const count = () => {
      asked++
      return undefined
    }
    v.override.setPlock = count
    v.override.flock = count
    await close(v, f)
    assert.equal(asked, 0)
    await v.close()
  })

  it('a lock of the open file description goes with the handle', async () => {
    const v = await openVolume()
    const f = await create(v, 'f')
    const g = await open(v, f.ino)
    await ok(lock(v, f, A, 'W'))
    await ok(v.vfs.flush(ROOT, f.ino, f.fh, '00000000000000ff'))
    assert.ok(isErrno(await lock(v, g, B, 'W')))
    await ok(v.vfs.release(ROOT, f.ino, f.fh, null))
    await ok(lock(v, g, B, 'W'))
    await v.close()
  })

  it('two handles of one process exclude each other by flock until one is released', async () => {
    const v = await openVolume()
    const f = await create(v, 'f')
    const g = await open(v, f.ino, O_RDONLY)
    await ok(lock(v, f, A, 'W', true))
    assert.ok(isErrno(await lock(v, g, A, 'W', true)))
    await ok(v.vfs.release(ROOT, f.ino, f.fh, A))
    await ok(lock(v, g, A, 'W', true))
    await v.close()
  })

  it('getlk names what is in the way; an unknown handle is EBADF', async () => {
    const v = await openVolume()
    const f = await create(v, 'f')
    await ok(lock(v, f, A, 'W'))
    const found = await ok(v.vfs.getlk(ROOT, f.ino, f.fh, B, { ...ALL, type: 'R' }))
    assert.equal(found.type, 'W')
    assert.equal(await v.vfs.getlk(ROOT, f.ino, 998, B, { ...ALL, type: 'R' }), EBADF)
    await v.close()
  })

  it('what was written is visible to others before the lock is given up', async () => {
    const v = await openVolume()
    const f = await create(v, 'f')
    await ok(lock(v, f, A, 'W'))
    await ok(v.vfs.write(ROOT, f.ino, f.fh, 0, Buffer.from('x'), 0))
    v.override.setPlock = (...args) => {
      v.trace.push('unlock')
      return v.meta.setPlock(...args)
    }
    await ok(v.vfs.flush(ROOT, f.ino, f.fh, A))
    assert.deepEqual(v.trace, ['stored 1', 'writeSlice 0:0+1', 'unlock'])
    await v.close()
  })
})
