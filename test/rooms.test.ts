/** The import table of the rooms (style: "Rooms"), read from the import lines of src, type imports included. */

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

const src = join(dirname(fileURLToPath(import.meta.url)), '..', 'src')

/** room → rooms it may import besides itself */
const table: Readonly<Record<string, readonly string[]>> = {
  base: [],
  object: ['base'],
  chunk: ['object', 'base'],
  meta: ['base'],
  vfs: ['meta', 'chunk', 'base'],
  jobs: ['meta', 'chunk', 'object', 'base'],
  fuse: ['vfs', 'meta', 'base'],
  cmd: ['base', 'object', 'chunk', 'meta', 'vfs', 'jobs', 'fuse'],
}

interface Import {
  readonly from: string
  readonly to: string
}

const imports: readonly Import[] = readdirSync(src, { recursive: true, encoding: 'utf8' })
  .filter(file => file.endsWith('.ts'))
  .flatMap(file => {
    const text = readFileSync(join(src, file), 'utf8')
    const specifiers = [...text.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*'(\.[^']+)'/g)].map(match => match[1]!)
    return specifiers.map(specifier => ({ from: file, to: relative(src, join(src, dirname(file), specifier)) }))
  })

const roomOf = (file: string): string => file.split('/')[0]!
const shown = ({ from, to }: Import): string => `${from} imports ${to}`
function mustNot(isForbidden: (edge: Import) => boolean): void {
  assert.deepEqual(imports.filter(isForbidden).map(shown), [])
}

describe('rooms', () => {
  it('are all in the table', () => {
    const rooms = new Set(readdirSync(src))
    assert.deepEqual([...rooms].sort(), Object.keys(table).sort())
    assert.ok(imports.length > 100)
  })

  for (const [room, allowed] of Object.entries(table)) {
    it(`${room} imports nothing but ${allowed.join(', ') || 'itself'}`, () => {
      mustNot(({ from, to }) => roomOf(from) === room && roomOf(to) !== room && !allowed.includes(roomOf(to)))
    })
  }

  it('fuse sees of meta only its model', () => {
    mustNot(({ from, to }) => roomOf(from) === 'fuse' && roomOf(to) === 'meta' && !to.startsWith('meta/model/'))
  })
  it('nobody but cmd knows an engine by name', () => {
    mustNot(
      ({ from, to }) => to.startsWith('meta/engine/') && !from.startsWith('meta/engine/') && roomOf(from) !== 'cmd',
    )
  })
  it('operations and engines meet at the facts only', () => {
    mustNot(({ from, to }) => from.startsWith('meta/ops/') && to.startsWith('meta/engine/'))
    mustNot(({ from, to }) => from.startsWith('meta/engine/') && to.startsWith('meta/ops/'))
  })
  it('operations, engines and the model do not know the client', () => {
    const below = ['meta/ops/', 'meta/engine/', 'meta/model/', 'meta/rules/']
    mustNot(({ from, to }) => to === 'meta/client.ts' && below.some(folder => from.startsWith(folder)))
    mustNot(
      ({ from, to }) => from.startsWith('meta/model/') && (to.startsWith('meta/ops/') || to.startsWith('meta/engine/')),
    )
  })
})
