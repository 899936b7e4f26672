/** The program that writes and reads on the mounts of bench/mounts.ts, in a process of its own since its calls block: plain system calls
 *  in order, 1 MiB each, big files with an fsync. What it reads is looked at. */

import { createHash } from 'node:crypto'
import { closeSync, fsyncSync, mkdirSync, openSync, readSync, writeSync } from 'node:fs'
import { join } from 'node:path'

/** ms since the epoch, comparable between processes */
export interface Times {
  readonly begin: number
  readonly end: number
}

export const now = (): number => performance.timeOrigin + performance.now()

const MiB = 1 << 20

function application([step, mountPoint, ...numbers]: readonly string[]): void {
  const [mib = 0, files = 0, fileKib = 0, programs = 0, program = 0] = numbers.map(Number)
  const data = createHash('shake256', { outputLength: MiB }).update('data').digest()
  const big = join(mountPoint!, 'big')
  const directory = join(mountPoint!, `small${program}`)
  const small = Array.from({ length: Math.ceil((files - program) / programs) }, (_, i) => join(directory, `file${i}`))
  if (step === 'write small') mkdirSync(directory)
  const begin = now()
  if (step === 'write big') writeFile(big, data, mib, true)
  else if (step === 'read big' || step === 'read, kept') readFile(big, data, mib)
  else if (step === 'write small') for (const path of small) writeFile(path, data.subarray(0, fileKib << 10), 1, false)
  else for (const path of small) readFile(path, data.subarray(0, fileKib << 10), 1)
  process.send!({ begin, end: now() })
  process.disconnect()
}

/** Writes `part` so many times, each time with its number in front. */
function writeFile(path: string, part: Buffer, parts: number, sync: boolean): void {
  const file = openSync(path, 'wx')
  for (let i = 0; i < parts; i++) {
    part.writeUInt32LE(i)
    if (writeSync(file, part) !== part.length) throw new Error('written in part')
  }
  if (sync) fsyncSync(file)
  closeSync(file)
}

function readFile(path: string, expected: Buffer, parts: number): void {
  const file = openSync(path, 'r')
  const into = Buffer.allocUnsafe(expected.length)
  for (let i = 0; i < parts; i++) {
    for (let at = 0; at < into.length; ) {
      const got = readSync(file, into, at, into.length - at, null)
      if (got === 0) throw new Error(`${path} ends early`)
      at += got
    }
    if (into.readUInt32LE() !== i || into.at(-1) !== expected.at(-1)) throw new Error(`${path}: other bytes`)
  }
  closeSync(file)
}

if (import.meta.main) application(process.argv.slice(2))
