import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { ADDON_VERSION, addon } from '../../src/base/addon.ts'

const sources = join(import.meta.dirname, '../..')
const noCompiler = spawnSync('cc', ['--version']).error ? 'there is no C compiler' : false

describe('the native addon', () => {
  it('has the version that the sources ask for, as its own source says', () => {
    const header = readFileSync(join(sources, 'native/version.h'), 'latin1')
    assert.equal(Number(/^#define ADDON_VERSION (\d+)$/m.exec(header)?.[1]), ADDON_VERSION)
  })

  it('offers these functions: who adds or removes one, or changes how one is called, raises ADDON_VERSION', {
    skip: addon() === null && 'it is not built',
  }, () => {
    const offered = Object.entries(addon() as object).filter(([, value]) => typeof value === 'function')
    assert.deepEqual(offered.map(([name]) => name).sort(), [
      'attach',
      'canSum',
      'crc32c',
      'disableHugePages',
      'loadFile',
      'loadNow',
      'mount',
      'openDevice',
      'openNow',
      'prepareDescriptor',
      'raiseOpenFiles',
      'readNow',
      'receiveDescriptor',
      'saveFile',
      'setIoFlusher',
      'socketPair',
      'syncPath',
      'trimMemory',
    ])
  })
})

describe('an addon that is older or newer than the sources', { skip: noCompiler }, () => {
  let root: string
  before(() => {
    root = mkdtempSync(join(tmpdir(), 'addon-'))
    cpSync(join(sources, 'src'), join(root, 'src'), { recursive: true })
    symlinkSync(join(sources, 'node_modules'), join(root, 'node_modules'))
    mkdirSync(join(root, 'native'))
    writeFileSync(join(root, 'package.json'), '{"type":"module"}')
    writeFileSync(
      join(root, 'try.ts'),
      `import { addon } from './src/base/addon.ts'
       import { canSum, loadFile } from './src/base/whole-file.ts'
       const bytes = Buffer.alloc(4)
       console.log(addon(), canSum(), await loadFile(process.argv[2], 0, bytes), bytes.toString())`,
    )
    writeFileSync(join(root, 'bytes'), 'abcd')
  })
  after(() => rmSync(root, { recursive: true }))

  const withoutVersion = 'void *napi_register_module_v1(void *env, void *exports) { (void)env; return exports; }'

  /** Node-API needs no headers for as little as these. */
  function compile(source: string): void {
    writeFileSync(join(root, 'addon.c'), source)
    const built = join(root, `native/juicefs_fuse-${process.arch}.node`)
    execFileSync('cc', ['-shared', '-fPIC', '-o', built, join(root, 'addon.c')])
  }
  function tryWith(source: string): { readonly stdout: string; readonly stderr: string } {
    compile(source)
    const ran = spawnSync(process.execPath, [join(root, 'try.ts'), join(root, 'bytes')], { encoding: 'utf8' })
    assert.equal(ran.status, 0, ran.stderr)
    return ran
  }

  it('is left out with one line that says what to do, and everything works as without one', () => {
    const { stdout, stderr } = tryWith(withoutVersion)
    assert.equal(stdout, 'null false 4 abcd\n')
    assert.match(stderr, /^[^\n]*<WARNING>: [^\n]*native addon is of version 0, [^\n]*run `npm run setup`[^\n]*\n$/)
  })

  it('is told by its number', () => {
    const { stdout, stderr } = tryWith(`
      #include <stdint.h>
      extern int napi_create_int32(void *, int32_t, void **);
      extern int napi_set_named_property(void *, void *, const char *, void *);
      void *napi_register_module_v1(void *env, void *exports) {
        void *version;
        napi_create_int32(env, ${ADDON_VERSION + 1}, &version);
        napi_set_named_property(env, exports, "version", version);
        return exports;
      }`)
    assert.equal(stdout, 'null false 4 abcd\n')
    assert.match(stderr, new RegExp(`version ${ADDON_VERSION + 1}, .* ${ADDON_VERSION}\\b`))
  })

  it('is told of at the terminal too, where the mount serves in the background', () => {
    compile(withoutVersion)
    const main = join(root, 'src/cmd/main.ts')
    const where = [`sqlite3://${root}/none.db`, join(root, 'mnt')]
    const args = [main, 'mount', '-d', '--no-syslog', '--log', join(root, 'log'), ...where]
    const { stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' })
    assert.match(stderr, /<WARNING>: [^\n]*run `npm run setup`/)
  })
})
