import type { Context } from '../vfs/file-system.ts'
import type { Call } from './call.ts'
import type { FuseRequest } from './wire.ts'

export interface AccessLogHook {
  wants(micros: number): boolean
  add(ctx: Context, what: string, errno: number, micros: number, endMs: number): void
}
export class AccessTrace {
  readonly #hook: AccessLogHook
  constructor(hook: AccessLogHook) {
    this.#hook = hook
  }
  get isWanted(): boolean {
    return this.#hook.wants(0)
  }
  describe(_request: FuseRequest): string {
    return ''
  }
  finished(name: string, call: Call, errno: number, _value: unknown, micros: number): void {
    if (this.#hook.wants(micros))
      this.#hook.add(call, `${name} (${call.ino})`, errno, micros, performance.timeOrigin + performance.now())
  }
}
