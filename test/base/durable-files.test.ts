import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { DurableFiles } from '../../src/base/durable-files.ts'

describe('durable files', () => {
  let root: string
  before(() => {
    root = `${mkdtempSync(join(tmpdir(), 'juicefs-ts-durable-'))}/`
    mkdirSync(`${root}a/b`, { recursive: true })
  })
  after(() => rmSync(root, { recursive: true, force: true }))

  it('are synced with the directory that names them, and with each directory above it once', async () => {
    const calls: string[] = []
    const files = new DurableFiles('/bucket/', {
      syncData: async path => void calls.push(`data ${path}`),
      syncDirectory: async path => void calls.push(`directory ${path}`),
      syncFileSystem: async () => assert.fail('one file is no reason for a syncfs'),
    })
    await files.sync(['/bucket/chunks/0/0/1_0_4'])
    assert.deepEqual(calls, [
      'data /bucket/chunks/0/0/1_0_4',
      'directory /bucket/chunks/0/0',
      'directory /bucket/chunks/0',
      'directory /bucket/chunks',
      'directory /bucket',
      'directory /',
    ])
    calls.length = 0
    await files.sync(['/bucket/chunks/0/0/2_0_4'])
    assert.deepEqual(calls, ['data /bucket/chunks/0/0/2_0_4', 'directory /bucket/chunks/0/0'])
  })

  it('that do not reach the disk are told of by name, never passed over', async () => {
    const fail = (): Promise<never> => Promise.reject(Object.assign(new Error('EIO: fsync'), { code: 'EIO' }))
    const fine = async (): Promise<void> => {}
    for (const calls of [
      { syncData: fail, syncDirectory: fine, syncFileSystem: fail },
      { syncData: fine, syncDirectory: fail, syncFileSystem: fail },
    ]) {
      const files = new DurableFiles('/bucket/', calls)
      for (const count of [1, 100]) {
        await assert.rejects(files.sync(Array.from({ length: count }, (_, i) => `/bucket/${i}`)), /EIO/)
      }
    }
  })

  it('are synced one by one, and the missing ones are told', async () => {
    writeFileSync(`${root}a/b/there`, 'x')
    const files = new DurableFiles(root)
    assert.deepEqual(await files.sync([`${root}a/b/there`, `${root}a/b/gone`, `${root}c/gone`]), [
      `${root}a/b/gone`,
      `${root}c/gone`,
    ])
  })

  it('that are many are synced with their file system', async () => {
    const paths = Array.from({ length: 100 }, (_, i) => `${root}a/f${i}`)
    for (const path of paths) writeFileSync(path, path)
    assert.deepEqual(await new DurableFiles(root).sync(paths), [])
  })

  it('whose root is away are all missing, however many', async () => {
    const paths = Array.from({ length: 100 }, (_, i) => `${root}away/f${i}`)
    assert.equal((await new DurableFiles(`${root}away/`).sync(paths)).length, 100)
  })
})
