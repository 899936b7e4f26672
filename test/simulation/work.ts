/** What a client process may be set to do (worker.ts): two kinds of work, both told to go, to pause, to leave. */

export interface WorkOptions {
  readonly work: 'race' | 'crowd'
  readonly url: string
  readonly seed: number
  /** clients of this process, each with its own connection and session */
  readonly clients: number
  /** of the first of them; no two of one volume have the same */
  readonly firstId: number
  /** when the volume's clock began, as `Date.now()` */
  readonly startedMs: number
  /** replies may be lost: faults are part of the game */
  readonly faults: boolean
  /** for `race` */
  readonly quota?: boolean
  /** for `race`: the directory that the volume begins with; for `crowd`: where everybody works */
  readonly directory: number
}

export interface WorkReport {
  /** by client: deeds that came to an end */
  readonly deeds: readonly number[]
  /** by client: the longest that a deed took, milliseconds */
  readonly slowestMs: readonly number[]
  readonly conflicts: number
  /** deeds whose outcome the client was not told */
  readonly faults: number
  /** slices whose blocks were stored, and deleted again (`race`) */
  readonly stored: readonly number[]
  readonly deleted: readonly number[]
  /** what was told that cannot be true (`crowd`) */
  readonly lies: readonly string[]
  /** by name: the inode that must be there (`crowd`, private names) */
  readonly owned: readonly (readonly [name: string, ino: number])[]
  /** by shared name: how often it was made less how often it was removed by this process (`crowd`) */
  readonly balance: readonly (readonly [name: string, made: number])[]
}

export interface Work {
  readonly sids: readonly number[]
  /** Until `pause`; rejects with what must not happen. */
  go(): void
  pause(): Promise<void>
  mourn(sids: readonly number[]): void
  leave(): Promise<void>
  report(): WorkReport
}
