/** What every part of the client stands on: the engine with its driver, the setting as last read, what this client has open. */

import type { Clock } from '../../base/clock.ts'
import type { Errno } from '../../base/errno.ts'
import type { Ino } from '../../base/ino.ts'
import type { Log } from '../../base/log.ts'
import { isPromise, type Maybe } from '../../base/maybe.ts'
import { Driver } from '../driver.ts'
import type { Engine, Intent, ScanKind, Scans } from '../engine.ts'
import type { Effect, Operation } from '../facts.ts'
import { KnownFacts } from '../known-facts.ts'
import { KnownLimits } from '../limits.ts'
import type { Attr } from '../model/attr.ts'
import { type Caller, systemCaller } from '../model/caller.ts'
import { type Format, parseFormat } from '../model/format.ts'
import type { Volume } from '../model/volume.ts'
import { OpenFiles } from '../open-files.ts'
import { releaseSustained } from '../ops/session.ts'
import { Removals } from '../removals.ts'
import { rowsOf } from '../scan.ts'

export interface MetaConfig {
  readonly readOnly: boolean
  readonly noBackgroundJobs: boolean
  /** 0 = no heartbeat */
  readonly heartbeatMs: number
  readonly skipDirMtimeNs: number
  readonly atimeMode: 'noatime' | 'relatime' | 'strictatime'
  /** attributes of files that are open, or were, are believed so long without asking; 0 = never */
  readonly openCacheMs?: number
  /** closed files that are remembered; 0 = without a limit */
  readonly openCacheLimit: number
  readonly mountPoint: string
  /** ours, `0.1.0` */
  readonly version: string
  readonly networkInterfaces?: readonly string[]
}

/** What the client reports to whoever runs it. All are optional hooks set by cmd (jobs, metrics, the daemon's end). */
export interface MetaHooks {
  onEffect?: (effect: Effect) => void
  /** A chunk's list grew long: worth compacting. `records` is its length now. The promise is of the end of that. */
  onLongChunk?: (ino: Ino, index: number, records: number) => Promise<void> | undefined
  /** The volume is gone, replaced or too new: this client must end (exit code 11). */
  onFatal?: (reason: string) => void
  onFormatChanged?: (format: Format) => void
  /** an operation that may change something took this long */
  onTransaction?: (micros: number) => void
  onConflict?: (operation: string) => void
}

export interface ClientOptions {
  readonly config: MetaConfig
  readonly clock: Clock
  readonly log: Log
  readonly random: () => number
}

export class ClientCore {
  readonly engine: Engine
  readonly config: MetaConfig
  readonly hooks: MetaHooks = {}
  readonly limits = new KnownLimits()
  /** the setting as of the last heartbeat; replaced, never changed */
  format: Format
  /** what operations must know of the volume; replaced together with `format` */
  volume: Volume
  /** 0 without a session */
  sid = 0
  protected formatJson: string
  protected readonly clock: Clock
  protected readonly log: Log
  protected readonly random: () => number
  protected readonly driver: Driver
  /** of an engine that is far away */
  protected readonly known: KnownFacts | undefined
  protected readonly openFiles: OpenFiles
  protected readonly removals = new Removals()
  protected readonly isOpen = (ino: Ino): boolean => this.openFiles.isOpen(ino)

  constructor(engine: Engine, json: string, options: ClientOptions) {
    this.engine = engine
    this.config = options.config
    this.clock = options.clock
    this.log = options.log
    this.random = options.random
    this.formatJson = json
    this.format = parseFormat(json)
    this.volume = this.volumeOf(this.format)
    this.known = engine.isLocal === true ? undefined : new KnownFacts(() => options.clock.monotonicMs())
    this.driver = new Driver(engine, {
      random: options.random,
      onEffect: effect => this.#effect(effect),
      onCommit: changes => {
        this.limits.applied(changes)
        this.openFiles.committed(changes)
      },
      onConflict: operation => this.hooks.onConflict?.(operation),
      known: this.known,
    })
    this.openFiles = new OpenFiles({
      limit: options.config.openCacheLimit,
      trustMs: options.config.openCacheMs ?? 0,
      nowMs: () => options.clock.monotonicMs(),
    })
  }

  get openFileCount(): number {
    return this.openFiles.size
  }

  /** Drives any operation of meta/ops; jobs and cmd use it for what has no method here. */
  run<T>(intent: Intent, make: () => Operation<T>, key?: Ino): Maybe<T | Errno> {
    if (intent === 'look' || this.hooks.onTransaction === undefined) return this.driver.run(intent, make, key)
    const start = performance.now()
    const result = this.driver.run(intent, make, key)
    if (!isPromise(result)) {
      this.hooks.onTransaction((performance.now() - start) * 1000)
      return result
    }
    return result.then(value => {
      this.hooks.onTransaction?.((performance.now() - start) * 1000)
      return value
    })
  }

  /** All rows of a scan, page by page. */
  scan<K extends ScanKind>(kind: K, args: Scans[K]['args'], pageSize = 1000): AsyncGenerator<Scans[K]['row']> {
    return rowsOf(this.engine, kind, args, pageSize)
  }

  protected system(): Caller {
    return systemCaller(this.clock.now())
  }

  protected volumeOf(format: Format): Volume {
    return {
      readOnly: this.config.readOnly,
      acl: format.EnableACL,
      dirStats: format.DirStats === true,
      skipDirMtimeNs: this.config.skipDirMtimeNs,
      limits: this.limits,
    }
  }

  /** The last close of a node without names, or (`expire`, ops/session.ts) the clean-up of somebody else's session. */
  protected releaseSustained(sid: number, ino: Ino, expire?: number): Maybe<{ readonly attr: Attr | null } | Errno> {
    return this.removals.during(takes => {
      takes(ino)
      return this.run('change', () => releaseSustained(this.volume, sid, ino, this.clock.now(), expire), ino)
    })
  }

  #effect(effect: Effect): void {
    if (effect.kind === 'chunkChanged') this.openFiles.dropChunks(effect.ino, effect.index)
    else this.hooks.onEffect?.(effect)
  }
}
