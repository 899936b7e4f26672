/** One round trip a gather, one a commit (scripts.ts). */

import { isScriptMissing } from './errors.ts'
import type { Executor } from './executor.ts'
import { type Arg, type Instruction, plainCommand, type Reply, scriptArguments } from './instruction.ts'
import type { Link, Request } from './link.ts'
import { COMMIT, GATHER, type Script } from './scripts.ts'
import { listOf } from './values.ts'

export class ByScript implements Executor {
  readonly #link: Link

  constructor(link: Link) {
    this.#link = link
  }

  async gather(instructions: readonly Instruction[], doing: string): Promise<readonly Reply[]> {
    const request = { doing, again: true }
    const only = instructions.length === 1 && instructions[0]!.op === 'q' ? instructions[0]! : null
    if (only) {
      const { name, args } = plainCommand(only)
      return [await this.#link.request(name, args, request)]
    }
    const { keys, argv } = scriptArguments([instructions.length], instructions)
    return listOf(await this.#run(GATHER, keys, argv, request))
  }

  async commit(checks: readonly Instruction[], steps: readonly Instruction[]): Promise<readonly number[] | null> {
    const { keys, argv } = scriptArguments([checks.length, steps.length], [...checks, ...steps])
    const reply = await this.#run(COMMIT, keys, argv, { doing: 'change metadata', again: false })
    return Array.isArray(reply) ? (reply as number[]) : null
  }

  close(): void {}

  /** By its digest; a server that has not seen the script, or has forgotten it, is told the whole. */
  async #run(script: Script, keys: readonly string[], argv: readonly Arg[], request: Request): Promise<Reply> {
    const rest = [String(keys.length), ...keys, ...argv]
    try {
      return await this.#link.request('EVALSHA', [script.sha, ...rest], request)
    } catch (error) {
      if (!isScriptMissing(error)) throw error
      this.#link.tally.retried('noscript')
      return await this.#link.request('EVAL', [script.source, ...rest], request)
    }
  }
}
