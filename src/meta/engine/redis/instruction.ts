/** What the scripts are made of (scripts.ts), and what a server that refuses scripts is told instead (by-watch.ts). */

/** Text is sent as UTF-8, so what may hold other bytes comes as a buffer. */
export type Arg = string | Buffer
/** As the client library gives it, bulk strings as buffers. */
export type Reply = Buffer | number | null | readonly Reply[]

export interface Instruction {
  readonly op: string
  readonly keys: readonly string[]
  readonly args: readonly Arg[]
}

/** One command as an instruction: `q` to read, `c` to change, `r` to change and be told the reply. */
export const command = (op: 'q' | 'c' | 'r', name: string, key: string, ...operands: readonly Arg[]): Instruction => ({
  op,
  keys: [key],
  args: [String(operands.length), name, ...operands],
})

/** The command of such an instruction, as it is sent by itself. */
export const plainCommand = ({
  keys,
  args,
}: Instruction): { readonly name: string; readonly args: readonly Arg[] } => ({
  name: args[1] as string,
  args: [keys[0]!, ...args.slice(2)],
})

/** KEYS and ARGV: the counts first, then every instruction's letter and operands. */
export function scriptArguments(
  counts: readonly number[],
  instructions: readonly Instruction[],
): { readonly keys: readonly string[]; readonly argv: readonly Arg[] } {
  const keys: string[] = []
  const argv: Arg[] = counts.map(String)
  for (const { op, keys: own, args } of instructions) {
    for (const key of own) keys.push(key)
    argv.push(op)
    for (const arg of args) argv.push(arg)
  }
  return { keys, argv }
}
