import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { crc32c } from '@node-rs/crc32'
import { addon } from '../../src/base/addon.ts'
import {
  canSum,
  dropCached,
  loadFile,
  loadNow,
  openNow,
  readNow,
  saveFile,
  saveFileAndOpen,
  sumsBytes,
  syncData,
  syncDirectory,
  syncFileSystem,
} from '../../src/base/whole-file.ts'

const options = { mode: 0o640, exclusive: true }

describe(`whole files ${addon() === null ? 'by node:fs' : 'by the addon'}`, () => {
  let dir: string
  before(() => {
    dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-files-'))
  })
  after(() => rmSync(dir, { recursive: true, force: true }))

  it('are written piece by piece and renamed', async () => {
    const path = join(dir, 'saved')
    await saveFile(`${path}.tmp`, path, [Buffer.from('one '), Buffer.alloc(0), Buffer.alloc(1 << 20, 'x')], options)
    assert.equal(readFileSync(path, 'latin1'), `one ${'x'.repeat(1 << 20)}`)
    assert.deepEqual(readdirSync(dir), ['saved'])
  })

  it('get their checksums where they are written', { skip: canSum() ? false : 'not by node:fs' }, async () => {
    const bytes = Buffer.from(Array.from({ length: 100_003 }, (_, i) => (i * 7) % 251))
    const path = join(dir, 'summed')
    await saveFile(`${path}.tmp`, path, [bytes], { ...options, summed: true })
    const sums = [0, 1, 2, 3].map(piece => crc32c(bytes.subarray(piece * 32768, (piece + 1) * 32768)))
    const expected = Buffer.alloc(16)
    for (const [i, sum] of sums.entries()) expected.writeUInt32BE(sum, 4 * i)
    assert.deepEqual(readFileSync(path), Buffer.concat([bytes, expected]))
    rmSync(path)
  })

  it('can stay open for reading', async () => {
    const path = join(dir, 'open')
    const fd = await saveFileAndOpen(`${path}.tmp`, path, [Buffer.from('bytes')], options)
    const bytes = Buffer.alloc(3)
    assert.ok([null, 3].includes(readNow(fd, bytes, 1)))
    assert.throws(() => writeFileSync(fd, 'x'), /EBADF/)
    closeSync(fd)
  })

  it('that exist are not written over where they must be new', async () => {
    const path = join(dir, 'taken')
    writeFileSync(`${path}.tmp`, 'mine')
    await assert.rejects(saveFile(`${path}.tmp`, path, [Buffer.from('x')], options), {
      code: 'EEXIST',
      syscall: 'open',
    })
    assert.equal(readFileSync(`${path}.tmp`, 'latin1'), 'mine')
  })

  it('that cannot be renamed leave nothing behind', async () => {
    const path = join(dir, 'directory')
    mkdirSync(path)
    const saving = saveFile(join(dir, 'rest.tmp'), path, [Buffer.from('x')], options)
    await assert.rejects(saving, { code: 'EISDIR', syscall: 'rename' })
    assert.ok(!readdirSync(dir).includes('rest.tmp'))
  })

  it('are read whole, in part, and behind their end', async () => {
    const path = join(dir, 'read')
    writeFileSync(path, 'abcdefgh')
    const read = async (offset: number, length: number): Promise<string> => {
      const bytes = Buffer.alloc(length)
      return bytes.subarray(0, await loadFile(path, offset, bytes)).toString()
    }
    assert.equal(await read(0, 8), 'abcdefgh')
    assert.equal(await read(2, 3), 'cde')
    assert.equal(await read(6, 100), 'gh')
    assert.equal(await read(20, 1), '')
  })

  it('are read with their checksums, of any length', { skip: canSum() ? false : 'not by node:fs' }, async () => {
    const path = join(dir, 'sums')
    for (const length of [1, 7, 32_767, 32_768, 32_769, 100_003, 262_144]) {
      const bytes = Buffer.from(Array.from({ length }, (_, i) => (i * 7919 + (i >> 8)) % 251))
      writeFileSync(path, Buffer.concat([bytes, Buffer.from('behind')]))
      const expected = Buffer.alloc(sumsBytes(length))
      for (let at = 0; at < expected.length; at += 4)
        expected.writeUInt32BE(crc32c(bytes.subarray(at * 8192, at * 8192 + 32768)), at)
      const room = Buffer.alloc(length + 10 + expected.length)
      assert.equal(await loadFile(path, 0, room, length), length + 6)
      assert.deepEqual(room.subarray(0, length), bytes)
      assert.deepEqual(room.subarray(length + 10), expected, `${length}`)
      const fd = openNow(path)
      if (fd === null) continue
      const sums = Buffer.alloc(expected.length)
      if (readNow(fd, room.subarray(0, length), 0, sums) !== null) assert.deepEqual(sums, expected)
      const few = Buffer.alloc(4)
      if (readNow(fd, room, 0, few) !== null && length >= 32768) assert.deepEqual(few, expected.subarray(0, 4))
      closeSync(fd)
    }
    const short = Buffer.alloc(12, 'x')
    writeFileSync(path, 'abc')
    assert.equal(await loadFile(path, 0, short, 8), 3)
    assert.equal(short.toString('latin1', 8), 'xxxx', 'not of a file that is too short')
    await assert.rejects(loadFile(path, 0, Buffer.alloc(10), 8), { code: 'EINVAL' })
  })

  it('that are missing or directories say so', async () => {
    const bytes = Buffer.alloc(1)
    await assert.rejects(loadFile(join(dir, 'none'), 0, bytes), { code: 'ENOENT', syscall: 'open' })
    await assert.rejects(loadFile(dir, 0, bytes), { code: 'EISDIR', syscall: 'read' })
  })

  it('are synced, with the directory that names them, or tell that they are missing', async () => {
    const path = join(dir, 'synced')
    writeFileSync(path, 'abc')
    await syncData(path)
    await syncDirectory(dir)
    assert.equal(await syncFileSystem(dir), addon() !== null)
    await dropCached(path)
    assert.equal(readFileSync(path, 'latin1'), 'abc')
    await assert.rejects(syncData(join(dir, 'none')), { code: 'ENOENT', syscall: 'open' })
    await assert.rejects(syncDirectory(join(dir, 'none')), { code: 'ENOENT', syscall: 'open' })
  })

  it('are read at once only where no disk is needed', () => {
    const path = join(dir, 'cached')
    writeFileSync(path, 'abcdefgh')
    const bytes = Buffer.alloc(16)
    const got = loadNow(path, bytes)
    if (got !== null) assert.equal(bytes.subarray(0, got).toString(), 'abcdefgh')
    const fd = openSync(path, 'r')
    const part = readNow(fd, bytes, 6)
    if (part !== null) assert.equal(bytes.subarray(0, part).toString(), 'gh')
    closeSync(fd)
    assert.equal(loadNow(join(dir, 'none'), bytes), null)
    assert.equal(openNow(join(dir, 'none')), null)
  })
})

if (addon() !== null) {
  it('whole files without the addon pass the same tests', () => {
    const env = { ...process.env, JUICEFS_TS_NO_ADDON: '1', NODE_TEST_CONTEXT: undefined }
    const ran = spawnSync(process.execPath, ['--test', import.meta.filename], { env, encoding: 'utf8' })
    assert.equal(ran.status, 0, ran.stdout + ran.stderr)
  })
}
