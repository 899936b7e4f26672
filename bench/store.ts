/** The S3 client against the least that Node could do: node:http with the headers signed once, one key, one buffer used again.
 *
 *      node bench/store.ts [MiB a cell, default 512]
 *
 *  Over two servers: one that does nothing (a child process that answers from memory), where the client's own cost shows, and
 *  versitygw (scripts/setup-servers.sh), as users have it. Pairs are measured one after the other, three times, and the median counts.
 *  `crc`: with the object checksums of the format, which the bare client does not know. CPU is this process's alone; the server's share of the two cores bounds the rates. */

import { type ChildProcess, fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import http from 'node:http'
import { SystemClock } from '../src/base/clock.ts'
import { openS3 } from '../src/object/s3/open.ts'
import type { ObjectStore } from '../src/object/store.ts'
import { ACCESS_KEY, SECRET_KEY, skipVersity, startVersity } from '../test/servers/s3.ts'
import { bareRequest, bareSender } from './bare-s3.ts'
import { median } from './harness.ts'

const BLOCK = 4 << 20
const ROUNDS = 3
const KEY = 'chunks/0/0/1_0_4194304'

interface Cell {
  readonly mibPerSec: number
  readonly cpuSecPerGib: number
}

if (process.argv[2] === 'serve') await serve()
else await main(Number(process.argv[2] ?? 512))

async function main(mib: number): Promise<void> {
  const child: ChildProcess = fork(import.meta.filename, ['serve'])
  const [port] = (await once(child, 'message')) as [number]
  console.log(`${'server'.padEnd(11)}verb    at once      bare            ours        rate   CPU`)
  try {
    await compare('nothing', port, mib)
    if (skipVersity) console.log(`versitygw: ${skipVersity}`)
    else {
      const server = await startVersity()
      await compare('versitygw', server.port, mib).finally(() => server.stop())
    }
  } finally {
    child.kill()
  }
}

async function compare(server: string, port: number, mib: number): Promise<void> {
  const open = (query: string): ObjectStore => {
    const setting = { bucket: `http://127.0.0.1:${port}/bench${query}`, accessKey: ACCESS_KEY, secretKey: SECRET_KEY }
    return openS3('s3', setting, { env: {}, clock: new SystemClock() })
  }
  const [checked, unchecked] = [open(''), open('?disable-checksum=true')]
  await checked.create()
  const body = randomBytes(BLOCK)
  await checked.put(KEY, body)
  for (const [verb, store] of [
    ['PUT', checked],
    ['GET', checked],
    ['PUT', unchecked],
    ['GET', unchecked],
  ] as const) {
    const send = bareSender({ port, ca: null })
    const request = await bareRequest({ port, ca: null }, verb, `/bench/${KEY}`, body)
    const bare = (): Promise<void> => send(request)
    for (const atOnce of [1, 16]) {
      const pairs: [Cell, Cell][] = []
      for (let round = 0; round < ROUNDS; round++) {
        pairs.push([await measure(bare, atOnce, mib), await measure(() => ours(store, verb, body), atOnce, mib)])
      }
      const of = (side: 0 | 1, field: keyof Cell): number => median(pairs.map(pair => pair[side][field]))
      const ratio = (field: keyof Cell): string => `${Math.round((100 * of(1, field)) / of(0, field))} %`.padStart(6)
      const cell = (side: 0 | 1): string =>
        `${of(side, 'mibPerSec').toFixed(0).padStart(5)} MiB/s ${of(side, 'cpuSecPerGib').toFixed(2)} s/GiB`
      const crc = store === checked ? 'crc' : '   '
      const name = `${server.padEnd(11)}${verb} ${crc}  ${String(atOnce).padStart(4)}`
      console.log(`${name}  ${cell(0)}  ${cell(1)} ${ratio('mibPerSec')}${ratio('cpuSecPerGib')}`)
    }
  }
  await checked.close()
  await unchecked.close()
}

async function ours(store: ObjectStore, verb: 'GET' | 'PUT', body: Buffer): Promise<void> {
  if (verb === 'PUT') await store.put(KEY, body)
  else if ((await store.get(KEY)).length !== BLOCK) throw new Error('short')
}

async function measure(send: () => Promise<void>, atOnce: number, mib: number): Promise<Cell> {
  let left = Math.max(atOnce, (mib << 20) / BLOCK)
  const requests = left
  const cpu = process.cpuUsage()
  const start = performance.now()
  const worker = async (): Promise<void> => {
    while (left-- > 0) await send()
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
  const seconds = (performance.now() - start) / 1000
  const { user, system } = process.cpuUsage(cpu)
  const bytes = requests * BLOCK
  return { mibPerSec: bytes / 2 ** 20 / seconds, cpuSecPerGib: (user + system) / 1e6 / (bytes / 2 ** 30) }
}

/** Answers every GET with a block, swallows everything else. */
async function serve(): Promise<void> {
  const block = randomBytes(BLOCK)
  const server = http.createServer((request, response) => {
    request.resume().on('end', () => {
      if (request.method === 'GET') response.writeHead(200, { 'content-length': BLOCK }).end(block)
      else response.writeHead(200, { 'content-length': 0 }).end()
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  process.send!((server.address() as { port: number }).port)
}
