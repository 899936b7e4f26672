/** One thread of `bench`: synchronous calls, one reused buffer, nothing else. */

import { randomFillSync } from 'node:crypto'
import { closeSync, openSync, readSync, statSync, writeSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import type { Phase, ThreadReply, ThreadStart } from './bench-threads.ts'

const { directory, thread, counter } = workerData as ThreadStart
const port = parentPort!
const WASM_PAGE_BYTES = 64 << 10
let buffer = Buffer.alloc(0)

// not in the types of Node
declare const WebAssembly: { readonly Memory: new (size: { initial: number }) => { readonly buffer: ArrayBuffer } }

/** Memory that begins where a page does, as that of most programs that write so much at once: a FUSE request holds 256 pages, so that
 *  1 MiB from the middle of a page takes two. Only WebAssembly promises it. */
function pageAligned(bytes: number): Buffer<ArrayBuffer> {
  const memory = new WebAssembly.Memory({ initial: Math.ceil(bytes / WASM_PAGE_BYTES) })
  return Buffer.from(memory.buffer, 0, bytes)
}

function runPhase({ kind, prefix, files, ioBytes, ios }: Phase): void {
  for (let file = 0; file < files; file++) {
    const path = `${directory}/${prefix}.${thread}.${file}`
    if (kind === 'stat') {
      statSync(path)
      Atomics.add(counter, 0, 1)
      continue
    }
    const fd = openSync(path, kind === 'write' ? 'w' : 'r', 0o644)
    try {
      // New bytes for each file: a store that recognises repetition would be measured at something else.
      if (kind === 'write') randomFillSync(buffer)
      for (let i = 0; i < ios; i++) {
        if (kind === 'write') writeAll(fd)
        else if (readSync(fd, buffer, 0, ioBytes, null) !== ioBytes) throw new Error(`${path}: a read came back short`)
        Atomics.add(counter, 0, 1)
      }
    } finally {
      closeSync(fd)
    }
  }
}

function writeAll(fd: number): void {
  for (let at = 0; at < buffer.length; ) at += writeSync(fd, buffer, at, buffer.length - at, null)
}

port.on('message', (phase: Phase) => {
  if (buffer.length !== phase.ioBytes) buffer = pageAligned(phase.ioBytes)
  try {
    const startNs = process.hrtime.bigint()
    runPhase(phase)
    port.postMessage({ kind: 'done', startNs, endNs: process.hrtime.bigint() } satisfies ThreadReply)
  } catch (error) {
    port.postMessage({
      kind: 'failed',
      message: error instanceof Error ? error.message : String(error),
    } satisfies ThreadReply)
  }
})
port.postMessage({ kind: 'ready' } satisfies ThreadReply)
