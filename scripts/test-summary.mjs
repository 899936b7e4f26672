// As a reporter of node:test: one JSON line a leaf test. As a program, given the folder of such files: the summary of a run.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

export default async function* summary(source) {
  for await (const { type, data } of source) {
    if (type !== 'test:pass' && type !== 'test:fail') continue
    if (data.details?.type === 'suite' && data.skip === undefined) continue
    const state = data.skip !== undefined ? 'skipped' : type === 'test:pass' ? 'passed' : 'failed'
    const why = typeof data.skip === 'string' ? data.skip : ''
    yield `${JSON.stringify({ state, name: data.name, file: data.file ?? '', why })}\n`
  }
}

if (import.meta.main) {
  const folder = process.argv[2]
  const tests = readdirSync(folder).flatMap(layer =>
    readFileSync(join(folder, layer), 'utf8')
      .split('\n')
      .filter(Boolean)
      .map(line => ({ layer, ...JSON.parse(line) })),
  )
  const count = (layer, state) => tests.filter(test => test.layer === layer && test.state === state).length
  console.log('layer          passed  failed  skipped')
  for (const layer of new Set(tests.map(test => test.layer))) {
    const counts = ['passed', 'failed', 'skipped'].map(state => String(count(layer, state)).padStart(8))
    console.log(layer.padEnd(13) + counts.join(''))
  }
  for (const { file, name } of tests.filter(test => test.state === 'failed')) console.log(`failed: ${name} (${file.split('/test/').at(-1)})`)
  const reasons = new Map()
  for (const { why } of tests.filter(test => test.state === 'skipped')) reasons.set(why, (reasons.get(why) ?? 0) + 1)
  for (const [why, times] of reasons) console.log(`skipped ${times}: ${why || 'no reason given'}`)
  const all = state => tests.filter(test => test.state === state).length
  console.log(`${all('passed')} passed, ${all('failed')} failed, ${all('skipped')} skipped`)
}
