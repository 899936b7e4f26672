/** A process with clients in it; what it does comes by messages (processes.ts). Ends with its parent. */

import { CrowdWork } from './crowd.ts'
import type { Command, Commands, Reply, Request } from './processes.ts'
import { RaceWork } from './race-work.ts'
import type { Work, WorkOptions } from './work.ts'

let work: Work | null = null

const commands: { [C in Command]: (args: Commands[C]['args']) => Promise<Commands[C]['result']> } = {
  async join(options: WorkOptions) {
    work = await (options.work === 'race' ? RaceWork : CrowdWork).join(options)
    return { sids: work.sids }
  },
  async go() {
    work!.go()
    return null
  },
  async pause() {
    await work!.pause()
    return work!.report()
  },
  async mourn(sids) {
    work!.mourn(sids)
    return null
  },
  async leave() {
    await work!.leave()
    const report = work!.report()
    work = null
    return report
  },
}

process.on('message', async ({ id, command, args }: Request) => {
  let reply: Reply
  try {
    reply = { id, result: await commands[command](args as never) }
  } catch (error) {
    reply = { id, error: error instanceof Error ? `${error.stack}\n${String(error.cause ?? '')}` : String(error) }
  }
  process.send?.(reply)
})
process.on('disconnect', () => process.exit())
