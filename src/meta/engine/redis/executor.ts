/** The two ways to read and to commit: by scripts, or (where a server refuses them) by WATCH and MULTI. */

import type { Instruction, Reply } from './instruction.ts'

export interface Executor {
  /** One reply an instruction, all of one moment. */
  gather(instructions: readonly Instruction[], doing: string): Promise<readonly Reply[]>
  /** Results of the steps that have one, in order; null = a check failed, nothing was done. LostReply = nobody knows. */
  commit(checks: readonly Instruction[], steps: readonly Instruction[]): Promise<readonly number[] | null>
  close(): void
}
