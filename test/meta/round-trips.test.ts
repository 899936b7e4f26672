/** How often a request goes to the server and back, counted on the wire by a proxy. A change of what this client knows is one round
 *  trip: its first gather is left out, and the commit verifies what was known. */

import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { SystemClock } from '../../src/base/clock.ts'
import { isErrno } from '../../src/base/errno.ts'
import { type Ino, ROOT_INO } from '../../src/base/ino.ts'
import { silentLog } from '../../src/base/log.ts'
import { openEngine } from '../../src/cmd/volume.ts'
import { MetaClient } from '../../src/meta/client.ts'
import type { Cursor } from '../../src/meta/engine.ts'
import type { Caller } from '../../src/meta/model/caller.ts'
import { type EngineServer, serverEngines } from '../servers/engines.ts'
import { clientConfig, formatVolume } from '../servers/volumes.ts'
import { Wire } from '../servers/wire.ts'

const clock = new SystemClock()
const FILE = { type: 1, mode: 0o644, umask: 0, rdev: 0, target: '' }
const DIRECTORY = { ...FILE, type: 2, mode: 0o755 }
/** Often enough that what happens now and then (the next range of ids, usage that is written) is not the rule. */
const TIMES = 7
/** more than a page of readdir, less than the records that come along with one */
const MANY = 700
const PAGE = 512

for (const { kind, skip, start } of serverEngines) {
  describe(`round trips on ${kind}`, { skip }, () => {
    let server: EngineServer
    let wire: Wire
    /** does everything, and knows what it has done */
    let meta: MetaClient
    /** knows nothing */
    let stranger: MetaClient
    let dir: Ino
    let many: Ino
    const caller: Caller = { uid: 0, gid: 0, gids: [0], now: clock.now(), check: false }

    before(async () => {
      server = await start()
      wire = await Wire.open(server.port, kind)
      const url = server.newDatabase()(wire.port)
      await formatVolume(url, { TrashDays: 0 })
      const open = async () => {
        const engine = await openEngine(url, { log: silentLog })
        return await MetaClient.open(engine, { clock, log: silentLog, random: Math.random, config: clientConfig() })
      }
      meta = await open()
      stranger = await open()
      await meta.newSession()
      await stranger.newSession()
      dir = (await made(meta.make(caller, ROOT_INO, 'dir', DIRECTORY))).ino
      many = (await made(meta.make(caller, ROOT_INO, 'many', DIRECTORY))).ino
      await Promise.all(Array.from({ length: MANY }, (_, i) => meta.make(caller, many, `f${i}`, FILE)))
      // The first ranges of ids are asked for now.
      await made(stranger.make(caller, ROOT_INO, 'stranger', FILE))
      for (const client of [meta, stranger]) await client.newSliceId()
    })
    after(async () => {
      for (const client of [meta, stranger]) {
        await client?.closeSession()
        await client?.engine.close()
      }
      await wire?.close()
      await server?.stop()
    })

    async function made<T>(result: T | Promise<T>): Promise<Exclude<T, number>> {
      const value = await result
      assert.ok(!isErrno(value), `errno ${String(value)}`)
      return value as Exclude<T, number>
    }

    /** The trips that an operation usually takes. `prepare` is not counted. */
    async function trips<T>(
      prepare: (i: number) => Promise<T> | T,
      operation: (prepared: T, i: number) => unknown,
    ): Promise<number> {
      const counts: number[] = []
      for (let i = 0; i < TIMES; i++) {
        const prepared = await prepare(i)
        const before = wire.trips
        await made(operation(prepared, i))
        counts.push(wire.trips - before)
      }
      return counts.sort((a, b) => a - b)[TIMES >> 1]!
    }

    const file = async (client: MetaClient, name: string): Promise<Ino> =>
      (await made(client.make(caller, dir, name, FILE))).ino
    const written = async (client: MetaClient, name: string): Promise<Ino> => {
      const ino = await file(client, name)
      await made(write(client, ino, await client.newSliceId()))
      return ino
    }
    const write = (client: MetaClient, ino: Ino, id: number) =>
      client.writeSlice(ino, 0, 0, { id, size: 4096, off: 0, len: 4096 }, clock.now())
    /** As the kernel asks before it changes a name. */
    const lookup = (client: MetaClient, name: string) => client.lookup(caller, dir, name)

    describe('one, of what only reads', () => {
      it('lookup', async () => {
        await file(meta, 'looked')
        assert.equal(
          await trips(
            () => undefined,
            () => lookup(stranger, 'looked'),
          ),
          1,
        )
      })
      it('getattr', async () => {
        const ino = await file(meta, 'got')
        assert.equal(
          await trips(
            () => undefined,
            () => stranger.getattr(ino),
          ),
          1,
        )
      })
      it('open', async () => {
        const ino = await file(meta, 'opened')
        assert.equal(
          await trips(
            () => undefined,
            () => stranger.open(caller, ino, 0),
          ),
          1,
        )
      })
      it('the slices of a chunk', async () => {
        const ino = await written(meta, 'read')
        assert.equal(
          await trips(
            () => stranger.forgetChunks(ino),
            () => stranger.readChunk(ino, 0),
          ),
          1,
        )
      })
      it('the first page of a directory with attributes, be it the only one or not', async () => {
        for (const [parent, isWhole] of [
          [dir, true],
          [many, false],
        ] as const) {
          const page = () => stranger.readdir(caller, parent, null, PAGE, true)
          assert.equal(await trips(() => undefined, page), 1)
          const { rows, next } = await made(page())
          assert.equal(next === null, isWhole)
          assert.ok(rows.every(row => row.attr !== null))
        }
      })
      it('each further page', async () => {
        const after = async (): Promise<Cursor> => (await made(stranger.readdir(caller, many, null, PAGE, true))).next!
        assert.equal(await trips(after, cursor => stranger.readdir(caller, many, cursor, PAGE, true)), 1)
      })
    })

    /** Each change, by who has just been told what it is about, and by who has not. */
    const changes: Readonly<
      Record<string, readonly [prepare: (client: MetaClient, i: string) => unknown, change: Change]>
    > = {
      create: [
        (client, i) => lookup(client, `c${i}`),
        (client, i) => client.create(caller, dir, `c${i}`, FILE, 2, true),
      ],
      mkdir: [(client, i) => lookup(client, `d${i}`), (client, i) => client.make(caller, dir, `d${i}`, DIRECTORY)],
      rmdir: [
        async (client, i) => {
          await meta.make(caller, dir, `e${i}`, DIRECTORY)
          await lookup(client, `e${i}`)
        },
        (client, i) => client.rmdir(caller, dir, `e${i}`),
      ],
      link: [
        async (client, i) => {
          const ino = await file(meta, `l${i}`)
          await lookup(client, `l${i}`)
          await lookup(client, `m${i}`)
          return ino
        },
        (client, i, ino) => client.link(caller, ino as Ino, dir, `m${i}`),
      ],
      unlink: [
        async (client, i) => {
          await written(meta, `u${i}`)
          await lookup(client, `u${i}`)
        },
        (client, i) => client.unlink(caller, dir, `u${i}`),
      ],
      rename: [
        async (client, i) => {
          await file(meta, `r${i}`)
          await lookup(client, `r${i}`)
          await lookup(client, `s${i}`)
        },
        (client, i) => client.rename(caller, { parent: dir, name: `r${i}` }, { parent: dir, name: `s${i}` }, 0),
      ],
      setattr: [
        async (client, i) => {
          const ino = await file(meta, `a${i}`)
          await lookup(client, `a${i}`)
          return ino
        },
        (client, _i, ino) => client.setattr(caller, ino as Ino, { mode: 0o600 }),
      ],
      'the commit of a slice': [
        async (client, i) => {
          const ino = await file(meta, `w${i}`)
          await lookup(client, `w${i}`)
          return [ino, await client.newSliceId()] as const
        },
        (client, _i, prepared) => {
          const [ino, id] = prepared as readonly [Ino, number]
          return write(client, ino, id)
        },
      ],
    }
    type Change = (client: MetaClient, i: string, prepared: unknown) => unknown

    describe('one, of a change of what was just looked up', () => {
      for (const [name, [prepare, change]] of Object.entries(changes)) {
        it(name, async () => {
          const count = await trips(
            async i => {
              await meta.getattr(dir)
              return await prepare(meta, `1${i}`)
            },
            (prepared, i) => change(meta, `1${i}`, prepared),
          )
          assert.equal(count, 1)
        })
      }
    })

    describe('at most two, of a change of what is not known', () => {
      for (const [name, [prepare, change]] of Object.entries(changes)) {
        it(name, async () => {
          // Prepared by the other client, so the stranger has been told nothing.
          const count = await trips(
            async i => {
              const prepared = await prepare(meta, `2${i}`)
              if (name === 'the commit of a slice') {
                return [(prepared as readonly [Ino, number])[0], await stranger.newSliceId()]
              }
              return prepared
            },
            (prepared, i) => change(stranger, `2${i}`, prepared),
          )
          assert.ok(count <= 2, `${count} round trips`)
        })
      }
    })
  })
}
