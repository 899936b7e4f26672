/** The same as the scripts do, for servers that refuse them: a gather is a pipeline (a second one for what entries point to), a
 *  commit WATCHes every key that it compares or patches, reads, and sends MULTI … EXEC. Two round trips or three.
 *
 *  WATCH belongs to a connection, so commits have one of their own and take turns on it. */

import { inoToString } from '../../../base/ino.ts'
import { decodeAttr, LENGTH_AT, MTIME_AT, NLINK_AT } from '../../model/attr-record.ts'
import { isElsewhere, isPassing, isReply, LostReply } from './errors.ts'
import type { Executor } from './executor.ts'
import { type Arg, type Instruction, plainCommand, type Reply } from './instruction.ts'
import { Link, type LinkOptions, pause } from './link.ts'
import { DEEPEST } from './scripts.ts'
import type { Session } from './server-info.ts'
import { buffersOf, bytesOf, decodeEntry, listOf, numberOf, textOf } from './values.ts'

/** how often a commit is tried while keys change between its reads and EXEC */
const MAX_ATTEMPTS = 50
const LONGEST_PAUSE_MS = 50

interface Command {
  readonly name: string
  readonly args: readonly Arg[]
}

export class ByWatch implements Executor {
  readonly #link: Link
  readonly #options: LinkOptions
  #own: Promise<Link> | null = null
  #turn: Promise<unknown> = Promise.resolve()

  constructor(link: Link, options: LinkOptions) {
    this.#link = link
    this.#options = options
  }

  async gather(instructions: readonly Instruction[], doing: string): Promise<readonly Reply[]> {
    return await Promise.all(instructions.map(instruction => this.#read(instruction, doing)))
  }

  commit(checks: readonly Instruction[], steps: readonly Instruction[]): Promise<readonly number[] | null> {
    const mine = this.#turn.then(() => this.#commit(checks, steps))
    this.#turn = mine.catch(() => undefined)
    return mine
  }

  close(): void {
    void this.#own?.then(
      link => link.close(),
      () => undefined,
    )
  }

  async #read(instruction: Instruction, doing: string): Promise<Reply> {
    const ask = (name: string, ...args: readonly Arg[]): Promise<Reply> =>
      this.#link.request(name, args, { doing, again: true })
    const { op, keys, args } = instruction
    const key = keys[0]!
    switch (op) {
      case 'q': {
        const plain = plainCommand(instruction)
        return await ask(plain.name, ...plain.args)
      }
      case 'd': {
        const [prefix, name, asksEmpty] = args as [string, Buffer, string]
        const entry = bytesOf(await ask('HGET', key, name))
        if (entry === null) return [null, null, null]
        const ino = inoToString(decodeEntry(entry).ino)
        const filled = asksEmpty === '1' ? ask('EXISTS', `${prefix}d${ino}`) : null
        return [entry, ...(await Promise.all([ask('GET', `${prefix}i${ino}`), filled]))]
      }
      case 'a': {
        const chain: Buffer[] = []
        for (let at = key; chain.length < DEEPEST; ) {
          const record = bytesOf(await ask('GET', at))
          if (record === null) break
          chain.push(record)
          const above = `${args[0] as string}i${inoToString(decodeAttr(0 as never, record).parent)}`
          if (above === at) break
          at = above
        }
        return chain
      }
      case 'x': {
        const [from, to] = args.map(Number) as [number, number]
        const indexes = Array.from({ length: Math.max(0, to - from) }, (_, i) => String(from + i))
        const there = await Promise.all(indexes.map(index => ask('EXISTS', key + index)))
        return indexes.filter((_, i) => there[i] === 1).map(index => Buffer.from(index))
      }
      case 'l': {
        const rule = args[0] as Buffer
        const stored = buffersOf(await ask('HGETALL', key))
        for (let i = 0; i < stored.length; i += 2) if (stored[i + 1]!.equals(rule)) return numberOf(stored[i])
        const id = numberOf(await ask('INCR', keys[1]!))
        await ask('HSETNX', key, String(id), rule)
        return id
      }
      case 'e': {
        const [next, pairs] = listOf(await ask('HSCAN', key, '0', 'COUNT', args[1]!))
        return [next!, pairs!, null]
      }
      default: {
        const names = args.slice(2)
        const entries = listOf(await ask('HMGET', key, ...names)).map(bytesOf)
        const records = await Promise.all(
          entries.map(entry => entry && ask('GET', `${args[1] as string}i${inoToString(decodeEntry(entry).ino)}`)),
        )
        return entries.flatMap((entry, i) => [entry, records[i] ?? null])
      }
    }
  }

  async #commit(checks: readonly Instruction[], steps: readonly Instruction[]): Promise<readonly number[] | null> {
    const link = await this.#connection()
    for (let attempt = 0; ; attempt++) {
      const session = await link.ready('change metadata')
      const transaction = new Transaction(link, session)
      try {
        if (!(await transaction.holds(checks))) {
          await link.send('UNWATCH', [])
          return null
        }
        const results = await transaction.apply(steps)
        if (results !== null) return results
      } catch (error) {
        if (isElsewhere(error)) link.reconnect((error as Error).message)
        // Before EXEC was sent nothing can have happened.
        if (!(error instanceof LostReply ? !transaction.isSent : isPassing(error))) throw error
      }
      // Some key changed since it was read; its guard may hold all the same.
      if (attempt >= MAX_ATTEMPTS) return null
      this.#options.tally.retried('watch')
      await pause(Math.min(attempt, LONGEST_PAUSE_MS))
    }
  }

  /** One that cannot be opened is not kept: the server may only be away. */
  async #open(): Promise<Link> {
    const link = new Link(this.#options)
    try {
      await link.open()
      return link
    } catch (error) {
      link.close()
      this.#own = null
      throw error
    }
  }

  #connection(): Promise<Link> {
    this.#own ??= this.#open()
    return this.#own
  }
}

/** One attempt. Everything of it must happen on one connection. */
class Transaction {
  readonly #link: Link
  readonly #session: Session
  isSent = false

  constructor(link: Link, session: Session) {
    this.#link = link
    this.#session = session
  }

  /** Watches and reads, in one round trip. */
  async holds(checks: readonly Instruction[]): Promise<boolean> {
    const keys = new Set(checks.flatMap(check => (check.op === 'X' ? chunkKeys(check) : check.keys)))
    if (keys.size > 0) void this.#send('WATCH', ...keys).catch(() => undefined)
    const kept = await Promise.all(checks.map(check => this.#holds(check)))
    return kept.every(Boolean)
  }

  /** Null: a watched key has changed. */
  async apply(steps: readonly Instruction[]): Promise<readonly number[] | null> {
    const patched = steps.filter(({ op }) => op !== 'c' && op !== 'r').flatMap(({ keys }) => keys)
    if (patched.length > 0) void this.#send('WATCH', ...new Set(patched)).catch(() => undefined)
    const planned = await Promise.all(steps.map(step => this.#commandsOf(step)))
    const commands = planned.flat()
    const isResult = planned.flatMap((list, i) => list.map(() => steps[i]!.op === 'r'))
    const queued = [this.#send('MULTI'), ...commands.map(({ name, args }) => this.#send(name, ...args))]
    const sent = this.#send('EXEC')
    this.isSent = true
    const [refused, executed] = await Promise.all([Promise.allSettled(queued), sent.catch((error: Error) => error)])
    // EXEC only says that something was wrong; what it was, the command had said.
    for (const each of refused) if (each.status === 'rejected' && isReply(each.reason)) throw each.reason
    if (executed instanceof Error) throw executed
    if (executed === null) return null
    const replies = listOf(executed) as readonly unknown[]
    const failed = replies.find(reply => reply instanceof Error)
    if (failed) throw failed
    return replies.filter((_, i) => isResult[i]) as number[]
  }

  #send(name: string, ...args: readonly Arg[]): Promise<Reply> {
    if (this.#link.session !== this.#session) {
      return Promise.reject(new LostReply(this.#session, 'the connection has changed'))
    }
    return this.#link.send(name, args)
  }

  async #holds({ op, keys, args }: Instruction): Promise<boolean> {
    const key = keys[0]!
    const [first, second] = args
    const same = (reply: Reply, value: Arg | undefined): boolean =>
      Buffer.isBuffer(reply) && reply.equals(Buffer.isBuffer(value) ? value : Buffer.from(value ?? ''))
    switch (op) {
      case 'G':
        return same(await this.#send('GET', key), first)
      case 'N':
        return (await this.#send('EXISTS', key)) === 0
      case 'E':
        return (await this.#send('EXISTS', key)) === 1
      case 'R': {
        const record = bytesOf(await this.#send('GET', key))
        return record !== null && same(Buffer.concat([record.subarray(0, 11), record.subarray(Number(first))]), second)
      }
      case 'P':
        return same(bytesOf(await this.#send('GET', key))?.subarray(63, 71) ?? null, first)
      case 'F':
        return same(await this.#send('HGET', key, first!), second)
      case 'f':
        return (await this.#send('HEXISTS', key, first!)) === 0
      case 'H':
      case 'K': {
        const [count, values] = await Promise.all([this.#send('HLEN', key), this.#send('HGETALL', key)])
        const stored = buffersOf(values)
        const fields = new Map(
          stored.filter((_, i) => i % 2 === 0).map((name, i) => [textOf(name), stored[2 * i + 1]!]),
        )
        if (count !== Number(first)) return false
        const wanted = args.slice(1).map(arg => (Buffer.isBuffer(arg) ? arg : Buffer.from(arg)))
        if (op === 'K') return wanted.every(name => fields.has(textOf(name)))
        return wanted.every((name, i) => i % 2 === 1 || fields.get(textOf(name))?.equals(wanted[i + 1]!) === true)
      }
      case 'L':
        return same(Buffer.concat(buffersOf(await this.#send('LRANGE', key, '0', '-1'))), first)
      case 'l':
        return same(Buffer.concat(buffersOf(await this.#send('LRANGE', key, '0', String(Number(first) - 1)))), second)
      case 'S':
        return (await this.#send('SISMEMBER', key, first!)) === Number(second)
      case 'C':
        return same((await this.#send('GET', key)) ?? Buffer.from('0'), first)
      case 'Z': {
        const score = await this.#send('ZSCORE', key, first!)
        return second === '' ? score === null : score !== null && numberOf(score) === Number(second)
      }
      default: {
        const expected = new Set(args.slice(3) as string[])
        const there = await Promise.all(
          chunkKeys({ op, keys, args }).map(async chunk => [
            chunk.slice(key.length),
            await this.#send('EXISTS', chunk),
          ]),
        )
        return there.every(([index, exists]) => expected.has(index as string) === (exists === 1))
      }
    }
  }

  async #commandsOf(step: Instruction): Promise<Command[]> {
    const { op, keys, args } = step
    const key = keys[0]!
    switch (op) {
      case 'c':
      case 'r':
        return [plainCommand(step)]
      case 'A': {
        const record = bytesOf(await this.#send('GET', key)) ?? Buffer.alloc(72)
        return [setBytes(key, adjusted(record, Number(args[0]), args[1] as Buffer | ''))]
      }
      case 'x': {
        const [mtime, ctime, length] = args as [Buffer, Buffer, Buffer]
        const record = bytesOf(await this.#send('GET', key)) ?? Buffer.alloc(72)
        const stored = record.subarray(LENGTH_AT, LENGTH_AT + 8)
        const longer = Buffer.compare(length, stored) > 0 ? length : stored
        return [setBytes(key, Buffer.concat([mtime, ctime, record.subarray(NLINK_AT, LENGTH_AT), longer]))]
      }
      case 'i': {
        const field = args[0]!
        if ((await this.#send('HEXISTS', key, field)) !== 1) return []
        return keys.slice(1).map((hash, i) => ({ name: 'HINCRBY', args: [hash, field, args[2 + i]!] }))
      }
      case 'u': {
        const [field, lockKey, prefix] = args as [string, string, string]
        const fields = buffersOf(await this.#send('HKEYS', key)).map(textOf)
        const isLast = !fields.some(each => each !== field && each.startsWith(prefix))
        const removed: Command[] = [{ name: 'HDEL', args: [key, field] }]
        return isLast ? [...removed, { name: 'SREM', args: [keys[1]!, lockKey] }] : removed
      }
      default: {
        const prefix = args[0] as string
        const hashes = buffersOf(await this.#send('SMEMBERS', key))
        const held = await Promise.all(hashes.map(hash => this.#send('HKEYS', hash)))
        const drops = hashes.flatMap((hash, i) =>
          buffersOf(held[i])
            .filter(field => textOf(field).startsWith(prefix))
            .map(field => ({ name: 'HDEL', args: [hash, field] })),
        )
        return [...drops, { name: 'DEL', args: [key] }]
      }
    }
  }
}

const chunkKeys = ({ keys, args }: Instruction): string[] => {
  const [from, to] = [Number(args[0]), Number(args[1])]
  const span = Array.from({ length: Math.max(0, to - from) }, (_, i) => String(from + i))
  return [...new Set([...span, ...(args.slice(3) as string[])])].map(index => keys[0]! + index)
}

/** mtime, ctime and link count lie beside each other, and length behind them. */
const setBytes = (key: string, bytes: Buffer): Command => ({ name: 'SETRANGE', args: [key, String(MTIME_AT), bytes] })

/** As the script does it: ctime never goes back, and mtime only together with a ctime that goes on. */
function adjusted(record: Buffer, links: number, times: Buffer | ''): Buffer {
  let [mtime, ctime] = [record.subarray(MTIME_AT, MTIME_AT + 12), record.subarray(MTIME_AT + 12, NLINK_AT)]
  if (times !== '') {
    if (isPast(ctime, times)) [mtime, ctime] = [times, times]
    else if (isPast(mtime, times)) mtime = times
  }
  const nlink = Buffer.alloc(4)
  nlink.writeUInt32BE(Math.max(0, record.readUInt32BE(NLINK_AT) + links))
  return Buffer.concat([mtime, ctime, nlink])
}

function isPast(time: Buffer, now: Buffer): boolean {
  const [a, b] = [time.readBigInt64BE(0), now.readBigInt64BE(0)]
  return a < b || (a === b && time.readUInt32BE(8) <= now.readUInt32BE(8))
}
