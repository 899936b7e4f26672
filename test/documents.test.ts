/** Links of the documents, and the files that they name: a reader shall find what he is sent to. */

import assert from 'node:assert/strict'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, it } from 'node:test'

const root = join(import.meta.dirname, '..')
const documents = globSync(['*.md', 'docs/**/*.md'], { cwd: root })

describe('documents', () => {
  it('link to what is there', () => {
    const lost = documents.flatMap(document =>
      [...readFileSync(join(root, document), 'utf8').matchAll(/\]\((?!https?:)([\w./-]+)(?:#[^)]*)?\)/g)]
        .filter(([, target]) => !existsSync(join(root, dirname(document), target!)))
        .map(([link]) => `${document}: ${link}`),
    )
    assert.ok(documents.includes('README.md') && documents.length > 10)
    assert.deepEqual(lost, [])
  })

  it('go with the package where README.md links to them', () => {
    const { files } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { files: string[] }
    const links = [...readFileSync(join(root, 'README.md'), 'utf8').matchAll(/\]\((?!https?:)([\w./-]+)\)/g)]
    const lost = links.map(([, target]) => target!).filter(target => !files.includes(target.split('/')[0]!))
    assert.deepEqual(lost, [])
  })

  it('name files that are there', () => {
    const lost = documents.flatMap(document =>
      [...readFileSync(join(root, document), 'utf8').matchAll(/\b(?:src|test|bench|docs|scripts|native)\/[\w./-]+\w/g)]
        .map(([path]) => path)
        .filter(path => !existsSync(join(root, path)) && !path.endsWith('.node'))
        .map(path => `${document}: ${path}`),
    )
    assert.deepEqual(lost, [])
  })
})
