import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Level, openLog } from '../../src/base/log.ts'

function lines(
  level: Level,
  options: { colour?: boolean; id?: string } = {},
): { log: ReturnType<typeof openLog>; out: string[] } {
  const out: string[] = []
  const log = openLog({ level, colour: options.colour ?? false, id: options.id ?? '', write: line => out.push(line) })
  return { log, out }
}

describe('log', () => {
  it('writes time, process, level, message and the place that logs', () => {
    const { log, out } = lines('INFO')
    const here = function namedHere(): void {
      log.info('hello')
    }
    here()
    assert.match(
      out[0]!,
      /^\d{4}\/\d\d\/\d\d \d\d:\d\d:\d\d\.\d{6} juicefs\[\d+\] <INFO>: hello \[namedHere@log\.test\.ts:\d+\]\n$/,
    )
    assert.ok(out[0]!.includes(`juicefs[${process.pid}]`))
  })

  it('leaves out what is below its level', () => {
    const { log, out } = lines('WARNING')
    log.trace('no')
    log.debug('no')
    log.info('no')
    log.warn('one')
    log.error('two')
    log.fatal('three')
    assert.deepEqual(
      out.map(line => /<(\w+)>: (\w+)/.exec(line)!.slice(1)),
      [
        ['WARNING', 'one'],
        ['ERROR', 'two'],
        ['FATAL', 'three'],
      ],
    )
  })

  it('colours the level word alone', () => {
    const { log, out } = lines('INFO', { colour: true })
    log.info('a')
    log.warn('b')
    log.error('c')
    assert.deepEqual(
      out.map(line => JSON.stringify(/<(.*?)>/.exec(line)![1])),
      ['"\\u001b[1;34mINFO\\u001b[0m"', '"\\u001b[1;33mWARNING\\u001b[0m"', '"\\u001b[1;31mERROR\\u001b[0m"'],
    )
  })

  it('puts the id first', () => {
    const { log, out } = lines('INFO', { id: 'mount-7' })
    log.info('a')
    assert.ok(out[0]!.startsWith('[mount-7] 20'))
  })

  it('prints messages of several lines as they are', () => {
    const { log, out } = lines('INFO')
    log.info('{\n  "a": 1\n}')
    assert.ok(out[0]!.includes('<INFO>: {\n  "a": 1\n} ['))
  })
})
