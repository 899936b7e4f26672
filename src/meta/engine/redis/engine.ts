import { Fault } from '../../../base/fault.ts'
import type { Log } from '../../../base/log.ts'
import type { Engine } from '../../engine.ts'

export interface RedisOptions {
  readonly readOnly?: boolean
  readonly log?: Pick<Log, 'info' | 'warn'>
}
export const RedisEngine = {
  open: async (_url: string, _options: RedisOptions): Promise<Engine> => {
    throw new Fault('engine redis is not supported yet')
  },
}
