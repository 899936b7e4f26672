/** The virtual files: listing, snapshots, the access log's stream, and the protocol of `.control`. */

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { EACCES, EINVAL, EPERM, isErrno } from '../../src/base/errno.ts'
import { CONFIG_INO, CONTROL_INO, type Ino, ROOT_INO, STATS_INO } from '../../src/base/ino.ts'
import { silentLog } from '../../src/base/log.ts'
import { BackgroundJobs } from '../../src/jobs/jobs.ts'
import { systemCaller } from '../../src/meta/model/caller.ts'
import { VirtualFiles } from '../../src/vfs/internal/files.ts'
import { BLOCK, close, create, ok, openVolume, pattern, ROOT, sleep, user, type Volume, write } from './harness.ts'

/** `subdir`: a directory of the root that becomes the root of the mount. */
async function withVirtual(subdir?: string): Promise<{ v: Volume; files: VirtualFiles; forgotten: string[] }> {
  const v = await openVolume({})
  const subdirRoot = subdir === undefined ? ROOT_INO : (await ok(v.vfs.mkdir(ROOT, ROOT_INO, subdir, 0o755, 0))).ino
  const jobs = new BackgroundJobs({
    meta: v.meta,
    chunks: v.chunks,
    clock: v.clock,
    log: silentLog,
    random: Math.random,
    metrics: v.metrics,
    maxDeletes: 2,
    sweeps: false,
  })
  const forgotten: string[] = []
  const files = new VirtualFiles({
    meta: v.meta,
    chunks: v.chunks,
    jobs,
    log: silentLog,
    prefixInternal: false,
    subdirRoot,
    startedAt: v.clock.now(),
    uid: 0,
    gid: 0,
    stats: () => 'juicefs_uptime 1\n',
    config: () => ({ Meta: { Sid: 1 } }),
    callerOf: ctx => ({ ...systemCaller(v.clock.now()), uid: ctx.uid, gid: ctx.gid }),
    forgetEntry: (parent, name) => void forgotten.push(`${parent}/${name}`),
  })
  return { v, files, forgotten }
}

const u64 = (n: number): Buffer => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt(n))
  return bytes
}
const request = (opcode: number, ...body: Buffer[]): Buffer => {
  const all = Buffer.concat(body)
  const head = Buffer.alloc(8)
  head.writeUInt32BE(opcode, 0)
  head.writeUInt32BE(all.length, 4)
  return Buffer.concat([head, all])
}

/** Writes a request and reads from its end on, as a client that uses the file position does. */
async function ask(files: VirtualFiles, message: Buffer, pieces = 1): Promise<Buffer> {
  const fh = 101
  assert.equal(files.open(ROOT, CONTROL_INO, fh, 2), undefined)
  const step = Math.ceil(message.length / pieces)
  for (let at = 0; at < message.length; at += step) {
    await files.write(ROOT, CONTROL_INO, fh, at, message.subarray(at, at + step))
  }
  let reply = Buffer.alloc(0)
  for (let i = 0; i < 100; i++) {
    const got = await files.read(ROOT, CONTROL_INO, fh, message.length + reply.length, 65536)
    assert.ok(!isErrno(got))
    reply = Buffer.concat([reply, ...got])
    if (reply.length > 0 && got.every(piece => piece.length === 0)) break
    await sleep(5)
  }
  files.flush(CONTROL_INO, fh)
  files.release(CONTROL_INO, fh)
  return reply
}

function jsonOf(reply: Buffer): Record<string, unknown> {
  let at = 0
  while (reply[at] === 0xfe) at += 17
  assert.equal(reply[at], 0xff)
  const length = reply.readUInt32BE(at + 1)
  assert.equal(reply.length, at + 5 + length)
  return JSON.parse(reply.subarray(at + 5).toString('utf8')) as Record<string, unknown>
}

describe('virtual files', () => {
  it('lists all but .control, which is found in every directory', async () => {
    const { v, files } = await withVirtual()
    assert.deepEqual(
      files.rootEntries.map(each => each.name),
      ['.accesslog', '.stats', '.config'],
    )
    assert.equal(files.lookup(ROOT_INO, '.stats')?.ino, STATS_INO)
    assert.equal(files.lookup(77 as Ino, '.stats'), undefined)
    assert.equal(files.lookup(77 as Ino, '.control')?.ino, CONTROL_INO)
    await v.close()
  })

  it('shows .stats and .config as they were at open, and lets nobody write them', async () => {
    const { v, files } = await withVirtual()
    assert.equal(files.open(ROOT, STATS_INO, 1, 2), EACCES)
    assert.equal(files.open(ROOT, STATS_INO, 1, 0), undefined)
    assert.equal(files.open(ROOT, CONFIG_INO, 3, 0), undefined)
    const stats = (await files.read(ROOT, STATS_INO, 1, 8, 100)) as Buffer[]
    assert.equal(stats[0]!.toString(), 'uptime 1\n')
    const config = (await files.read(ROOT, CONFIG_INO, 3, 0, 1000)) as Buffer[]
    assert.equal(config[0]!.toString(), '{\n "Meta": {\n  "Sid": 1\n }\n}')
    await v.close()
  })

  it('the access log waits for lines, gives a keep-alive when there are none, and formats only when read', async () => {
    const { v, files } = await withVirtual()
    const log = files.accessLog
    assert.equal(log.wants(5), false)
    assert.equal(log.wants(11_000_000), true)
    log.open(5)
    assert.equal(log.wants(5), true)
    const waiting = log.read(5, 1000)
    log.add(user(7), 'unlink (1,f)', 2, 309, Date.UTC(2026, 10, 21, 7, 9, 12) + 122.103)
    assert.match(
      (await waiting).toString(),
      /^2026\.11\.2\d \d\d:\d\d:12\.122\d{3} \[uid:7,gid:7,pid:1\] unlink \(1,f\) - no such file or directory <0\.000309>\n$/,
    )
    assert.equal((await log.read(5, 1000)).toString(), '#\n')
    log.close(5)
    await v.close()
  })
})

describe('.control', () => {
  it('answers info of a file with its paths, totals and objects', async () => {
    const { v, files } = await withVirtual()
    const dir = await ok(v.vfs.mkdir(ROOT, ROOT_INO, 'd', 0o755, 0))
    const file = await create(v, 'f', undefined, dir.ino)
    await write(v, file, 0, pattern(BLOCK + 10))
    await close(v, file)
    const told = jsonOf(await ask(files, request(1005, u64(file.ino), Buffer.from([1, 0, 0])), 3))
    assert.deepEqual(told.Paths, ['/d/f'])
    assert.deepEqual(told.Summary, { Length: BLOCK + 10, Size: BLOCK + 4096, Files: 1, Dirs: 0 })
    assert.deepEqual(
      (told.Objects as { Key: string; Off: number; Len: number }[]).map(o => [o.Key, o.Off, o.Len]),
      [
        [`test/chunks/0/0/1_0_${BLOCK}`, 0, BLOCK],
        ['test/chunks/0/0/1_1_10', 0, 10],
      ],
    )
    const raw = jsonOf(await ask(files, request(1005, u64(file.ino), Buffer.from([1, 1, 0]))))
    assert.deepEqual(raw.Chunks, [{ ChunkIndex: 0, Id: 1, Size: BLOCK + 10, Off: 0, Len: BLOCK + 10 }])
    await v.close()
  })

  it('of a mount of a directory shows paths below it, names outside it not at all', async () => {
    const { v, files, forgotten } = await withVirtual('top')
    const pathsOf = async (ino: Ino): Promise<unknown> =>
      jsonOf(await ask(files, request(1005, u64(ino), Buffer.from([0, 0, 0])))).Paths
    const top = await ok(v.vfs.lookup(ROOT, ROOT_INO, 'top'))
    const dir = await ok(v.vfs.mkdir(ROOT, top.ino, 'd', 0o755, 0))
    const file = await create(v, 'f', undefined, dir.ino)
    assert.deepEqual(await pathsOf(file.ino), ['/d/f'])
    await ok(v.vfs.link(ROOT, file.ino, ROOT_INO, 'outside'))
    await ok(v.vfs.link(ROOT, file.ino, top.ino, 'second'))
    assert.deepEqual([...((await pathsOf(file.ino)) as string[])].sort(), ['/d/f', '/second'])
    assert.deepEqual(await pathsOf(ROOT_INO), ['/'], 'the root of the mount is called 1')
    const outside = await create(v, 'other')
    assert.deepEqual(await pathsOf(outside.ino), [])
    await ask(files, request(1002, u64(ROOT_INO), Buffer.from([6]), Buffer.from('second'), Buffer.from([1, 4])))
    assert.deepEqual(forgotten, ['1/second'], 'by the number that the kernel knows')
    await v.close()
  })

  it('answers the older info request with text', async () => {
    const { v, files } = await withVirtual()
    const file = await create(v, 'hi')
    await write(v, file, 0, pattern(6))
    await close(v, file)
    const reply = await ask(files, request(1003, u64(file.ino), Buffer.from([1])))
    const text = reply.subarray(17 + 4).toString()
    assert.equal(reply.readUInt32BE(17), text.length)
    assert.match(
      text,
      /^ {2}inode: \d+\n {2}files: 1\n {3}dirs: 0\n length: 6 Bytes\n {3}size: 4\.00 KiB \(4096 Bytes\)\n {3}path: \/hi\nobjects:\n\t0:\ttest\/chunks\/0\/0\/1_0_6\t6\t0\t6\n$/,
    )
    await v.close()
  })

  it('summarises a tree, the biggest first and the rest as one', async () => {
    const { v, files } = await withVirtual()
    for (const [name, length] of [
      ['a', 10],
      ['b', 2 * BLOCK],
      ['c', BLOCK],
    ] as const) {
      const file = await create(v, name)
      await write(v, file, 0, pattern(length))
      await close(v, file)
    }
    const { Tree } = jsonOf(await ask(files, request(1007, u64(1), Buffer.from([2, 2, 0])))) as unknown as {
      Tree: { Inode: number; Size: number; Files: number; Dirs: number; Children: { Path: string; Size: number }[] }
    }
    assert.equal(Tree.Inode, 1)
    assert.deepEqual([Tree.Files, Tree.Dirs, Tree.Size], [3, 1, 3 * BLOCK + 8192])
    assert.deepEqual(
      Tree.Children.map(child => [child.Path, child.Size]),
      [
        ['b', 2 * BLOCK],
        ['c', BLOCK],
        ['...', 4096],
      ],
    )
    await v.close()
  })

  it('removes a tree and lets the kernel forget its name', async () => {
    const { v, files, forgotten } = await withVirtual()
    const dir = await ok(v.vfs.mkdir(ROOT, ROOT_INO, 'd', 0o755, 0))
    for (const name of ['x', 'y']) await close(v, await create(v, name, undefined, dir.ino))
    const reply = await ask(files, request(1002, u64(1), Buffer.from([1]), Buffer.from('d'), Buffer.from([1, 50])))
    assert.deepEqual([...reply], [0xfe, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    assert.deepEqual(forgotten, ['1/d'])
    await v.close()
  })

  it('answers an unknown request, and one that is too short, with EINVAL', async () => {
    const { v, files } = await withVirtual()
    assert.deepEqual([...(await ask(files, request(9999)))], [EINVAL])
    assert.deepEqual([...(await ask(files, request(1005, Buffer.from([1, 2]))))], [EINVAL])
    await v.close()
  })

  it('warms up as many long paths as JuiceFS names at once', async () => {
    const { v, files } = await withVirtual()
    await close(v, await create(v, 'one'))
    const paths = Buffer.from(
      Array<string>(10_240)
        .fill(`${'/'.repeat(200)}one`)
        .join('\n'),
    )
    const length = Buffer.alloc(4)
    length.writeUInt32BE(paths.length)
    const answer = await ask(files, request(1004, length, paths, Buffer.from([0, 50, 0, 0])), 3)
    assert.equal(jsonOf(answer).FileCount, 10_240)
    await v.close()
  })

  it('lets only root remove past the trash', async () => {
    const { v, files } = await withVirtual()
    files.open(user(1000), CONTROL_INO, 9, 2)
    const message = request(1002, u64(1), Buffer.from([1]), Buffer.from('d'), Buffer.from([1, 50]))
    await files.write(user(1000), CONTROL_INO, 9, 0, message)
    await sleep(5)
    const reply = (await files.read(user(1000), CONTROL_INO, 9, message.length, 100)) as Buffer[]
    assert.deepEqual([...reply[0]!], [EPERM])
    await v.close()
  })
})
