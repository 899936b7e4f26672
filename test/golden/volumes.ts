/** The volumes that JuiceFS wrote: a folder with `volumes.tar.zst`, or with the unpacked volumes. */

import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { zstdDecompressSync } from 'node:zlib'
import { projectRoot } from '../mount/harness.ts'

const golden = process.env.GOLDEN_VOLUMES ?? join(projectRoot, '..', 'shared', 'golden')
const archive = join(golden, 'volumes.tar.zst')

export const goldenSkip: string | false =
  !existsSync(archive) && !existsSync(join(golden, 'sqlite-plain')) && `no golden volumes (GOLDEN_VOLUMES, ${golden})`

/** of the key of the encrypted volumes */
export const PASSPHRASE = 'golden-pass'

/** Puts copies of volumes, or of single files of them (`redis/volume.rdb`), into a directory, where each keeps its path. */
export function unpackGolden(dir: string, ...paths: string[]): void {
  if (existsSync(archive)) {
    const input = zstdDecompressSync(readFileSync(archive)) // tar's own --zstd wants a program beside it
    execFileSync('tar', ['-x', '-C', dir, ...paths.map(path => `./${path}`)], { input })
  } else for (const path of paths) cpSync(join(golden, path), join(dir, path), { recursive: true })
}
