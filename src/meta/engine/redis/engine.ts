/** The metadata engine on Redis, in the reference client's layout.
 *
 *  A gather is one round trip and so is a commit: one script call reads at one moment, another compares what was read, byte by
 *  byte, and applies the changes only if all is as it was. Requests of all operations share one pipelined connection. */

import { EROFS } from '../../../base/errno.ts'
import { Fault } from '../../../base/fault.ts'
import { type Log, silentLog } from '../../../base/log.ts'
import type { Cursor, Engine, EngineCounts, Guard, Intent, Outcome, Page, ScanKind, Scans } from '../../engine.ts'
import type { Change, Fact, Read } from '../../facts.ts'
import { ByScript } from './by-script.ts'
import { ByWatch } from './by-watch.ts'
import { checksOf } from './checks.ts'
import { DeadLengths } from './dead-lengths.ts'
import { Durability } from './durability.ts'
import { faultOf, isReply, isScriptRefused, LostReply } from './errors.ts'
import type { Executor } from './executor.ts'
import type { Arg, Instruction, Reply } from './instruction.ts'
import type { Keys } from './keys.ts'
import type { Link } from './link.ts'
import { decideLost } from './lost-commit.ts'
import { type Opened, openLink } from './open.ts'
import { counterOffset, type Hints, MAX_CHUNK_PROBES, planRead } from './reads.ts'
import { Scanner } from './scan.ts'
import { planChange } from './steps.ts'
import type { Environment } from './url.ts'
import { numberOf } from './values.ts'

export interface RedisOptions {
  /** Nothing is written; a replica may be asked. */
  readonly readOnly?: boolean
  readonly log?: Pick<Log, 'info' | 'warn'>
  /** where a password is looked for that the address does not hold; the process's environment unless given */
  readonly env?: Environment
  /** how long a request waits for a connection; 60 s unless given */
  readonly patienceMs?: number
  /** Never use scripts. */
  readonly withoutScripts?: boolean
}

const REFUSAL: Outcome = { done: false }

export class RedisEngine implements Engine {
  readonly kind = 'redis'
  readonly counts: EngineCounts
  readonly #link: Link
  readonly #keys: Keys
  readonly #readOnly: boolean
  readonly #log: Pick<Log, 'info' | 'warn'>
  readonly #makeByWatch: () => ByWatch
  #executor: Executor
  readonly #scanner: Scanner
  readonly #dead: DeadLengths
  readonly #durability: Durability
  #generation: string | null = null
  /** the last ids that this client was given */
  readonly #given = new Map<'nextInode' | 'nextChunk', number>()

  /** Connects. A Fault says within 5 s what is wrong with the address or the server. No password is in any message. */
  static async open(url: string, options: RedisOptions = {}): Promise<RedisEngine> {
    const { readOnly = false, log = silentLog, env = process.env, patienceMs } = options
    const opened = await openLink(url, { readOnly, log, env, ...(patienceMs === undefined ? {} : { patienceMs }) })
    return new RedisEngine(opened, { readOnly, log, withoutScripts: options.withoutScripts ?? false })
  }

  private constructor(
    { link, keys, linkOptions }: Opened,
    options: { readonly readOnly: boolean; readonly log: Pick<Log, 'info' | 'warn'>; readonly withoutScripts: boolean },
  ) {
    this.#link = link
    this.counts = linkOptions.tally
    this.#keys = keys
    this.#readOnly = options.readOnly
    this.#log = options.log
    this.#makeByWatch = () => new ByWatch(link, linkOptions)
    this.#executor = options.withoutScripts ? this.#makeByWatch() : new ByScript(link)
    this.#dead = new DeadLengths(link, keys)
    this.#scanner = new Scanner({
      link,
      keys,
      dead: this.#dead,
      gather: instructions => this.#gather(instructions, 'list metadata'),
    })
    this.#durability = new Durability(link, linkOptions, keys, options.log)
    link.onOtherServer = call => this.#moveCountersOn(call)
  }

  get generation(): string | null {
    this.#generation = this.#link.session?.info.runId ?? this.#generation
    return this.#generation
  }

  /** A key exists as soon as it has a value: nothing is to be made beforehand. */
  prepare(): void {}

  async gather(reads: readonly Read[], _intent: Intent): Promise<readonly Fact[]> {
    if (this.#readOnly && reads.some(read => read.kind === 'aclId')) throw notWritable()
    const hints = await this.#hints(reads)
    const plans = reads.map(read => planRead(read, this.#keys, hints))
    const instructions = plans.flatMap(plan => plan.instructions)
    const replies = instructions.length === 0 ? [] : await this.#gather(instructions, 'read metadata')
    let at = 0
    return plans.map(plan => plan.decode(replies.slice(at, (at += plan.instructions.length))))
  }

  async commit(guards: readonly Guard[], changes: readonly Change[]): Promise<Outcome> {
    if (this.#readOnly) throw notWritable()
    const hints = await this.#hints(changes)
    const checks: Instruction[] = guards.flatMap(guard => checksOf(guard, this.#keys, hints))
    const plans = changes.map(change => planChange(change, guards, this.#keys, hints))
    for (const plan of plans) checks.push(...plan.checks)
    const steps = plans.flatMap(plan => plan.steps)
    try {
      const replies = await this.#commit(checks, steps)
      if (replies === null) return REFUSAL
      this.#applied(changes)
      let at = 0
      return { done: true, results: plans.map(({ result }) => result?.(replies[at++]!)) }
    } catch (error) {
      if (!(error instanceof LostReply)) throw faultOf(error, 'change metadata')
      const outcome = await decideLost(error, { link: this.#link, keys: this.#keys, guards, changes })
      if (outcome.done) this.#applied(changes)
      return outcome
    }
  }

  async scan<K extends ScanKind>(
    kind: K,
    args: Scans[K]['args'],
    cursor: Cursor | null,
    limit: number,
  ): Promise<Page<Scans[K]['row']>> {
    try {
      return await this.#scanner.page(kind, args, cursor, limit)
    } catch (error) {
      throw faultOf(error, `list ${kind}`)
    }
  }

  /** Counters hold the last id taken. */
  async allocate(counter: 'nextInode' | 'nextChunk' | 'nextSession' | 'nextTrash', count: number): Promise<number> {
    if (this.#readOnly) throw notWritable()
    const doing = `reserve ${counter}`
    try {
      const last = await this.#link.request('INCRBY', [this.#keys.counter(counter), String(count)], {
        doing,
        again: true,
      })
      if (counter === 'nextInode' || counter === 'nextChunk') this.#given.set(counter, last as number)
      // After a power cut ids must not be handed out again whose blocks are stored or cached.
      if (counterOffset(counter) !== 0) await this.#durability.sync()
      return (last as number) - count + 1
    } catch (error) {
      throw faultOf(error, doing)
    }
  }

  sync(): Promise<void> {
    return this.#readOnly ? Promise.resolve() : this.#durability.sync()
  }

  close(): void {
    this.#executor.close()
    this.#scanner.close()
    this.#durability.close()
    this.#link.close()
  }

  /** A server that took over, or was started anew, may have forgotten the last ranges of ids. What is stored under those numbers must
   *  not be replaced by what others would store under them. */
  async #moveCountersOn(call: (name: string, ...args: Arg[]) => Promise<Reply>): Promise<void> {
    for (const [counter, last] of this.#given) {
      const key = this.#keys.counter(counter)
      const behind = last - numberOf(await call('GET', key))
      if (behind <= 0) continue
      this.#log.warn(`Redis has forgotten ${behind} ids of ${counter} that it gave to this client: they are left out`)
      await call('INCRBY', key, String(behind)).catch(error => {
        if (!isReply(error)) throw error
        this.#log.warn(`move ${counter} on: ${error.message}`)
      })
    }
  }

  #applied(changes: readonly Change[]): void {
    this.#dead.applied(changes)
    this.#scanner.applied(changes)
  }

  async #gather(instructions: readonly Instruction[], doing: string): Promise<readonly Reply[]> {
    try {
      return await this.#executor.gather(instructions, doing)
    } catch (error) {
      if (this.#withoutScripts(error)) return await this.#gather(instructions, doing)
      throw faultOf(error, doing)
    }
  }

  async #commit(checks: readonly Instruction[], steps: readonly Instruction[]): Promise<readonly number[] | null> {
    try {
      return await this.#executor.commit(checks, steps)
    } catch (error) {
      if (this.#withoutScripts(error)) return await this.#commit(checks, steps)
      throw error
    }
  }

  /** Goes over to WATCH and MULTI, for good, where the server refuses scripts. */
  #withoutScripts(error: unknown): boolean {
    if (!isScriptRefused(error)) return false
    if (this.#executor instanceof ByScript) {
      this.#log.warn(`Redis refuses scripts (${(error as Error).message}): every change takes a round trip more`)
      this.#executor = this.#makeByWatch()
    }
    return true
  }

  /** What must be known before keys can be named (reads.ts). */
  async #hints(about: readonly (Read | Change)[]): Promise<Hints> {
    await this.#dead.find(about)
    const chunkIndexes = new Map<Read, readonly number[]>()
    for (const read of about) {
      if (read.kind !== 'chunkIndexes' || read.to - read.from <= MAX_CHUNK_PROBES) continue
      const found = await this.#scanner.chunkIndexes(read.ino)
      chunkIndexes.set(
        read,
        found.filter(index => index >= read.from && index < read.to),
      )
    }
    return { deadLengths: this.#dead.known, chunkIndexes }
  }
}

const notWritable = (): Fault => new Fault('the metadata database is open for reading only', { errno: EROFS })
