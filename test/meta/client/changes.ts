/** What a mount asks of its metadata all day, as single changes in a small scene. */

import { type Ino, ROOT_INO } from '../../../src/base/ino.ts'
import type { MetaClient } from '../../../src/meta/client.ts'
import type { Caller } from '../../../src/meta/model/caller.ts'
import { O_RDWR } from '../../vfs/harness.ts'
import { DIRECTORY, FILE, ok } from './harness.ts'

export const SLICE = (id: number) => ({ id, size: 100, off: 0, len: 100 })

export interface Scene {
  readonly meta: MetaClient
  readonly caller: () => Caller
  readonly top: Ino
  readonly dir: Ino
  readonly file: Ino
}

/** top/dir with a file of some data, an empty one, and a directory; ids are at hand, and so is the trash of the hour. */
export async function buildScene(
  meta: MetaClient,
  caller: () => Caller,
  options: { readonly hasTrash: boolean; readonly top?: Ino },
): Promise<Scene> {
  const { hasTrash, top = ROOT_INO } = options
  const { ino: dir } = await ok(meta.make(caller(), top, 'dir', DIRECTORY))
  const { ino: file } = await ok(meta.make(caller(), dir, 'file', FILE))
  await ok(meta.make(caller(), dir, 'empty', FILE))
  await ok(meta.make(caller(), dir, 'sub', DIRECTORY))
  await ok(meta.writeSlice(file, 0, 0, SLICE(await meta.newSliceId()), caller().now))
  if (hasTrash) {
    await ok(meta.make(caller(), dir, 'first', FILE))
    await ok(meta.unlink(caller(), dir, 'first'))
  }
  return { meta, caller, top, dir, file }
}

export const CHANGES: Readonly<Record<string, (scene: Scene) => Promise<unknown>>> = {
  create: ({ meta, caller, dir }) => ok(meta.create(caller(), dir, 'new', FILE, O_RDWR, true)),
  mknod: ({ meta, caller, dir }) => ok(meta.make(caller(), dir, 'new', { ...FILE, type: 4 })),
  mkdir: ({ meta, caller, dir }) => ok(meta.make(caller(), dir, 'new', DIRECTORY)),
  symlink: ({ meta, caller, dir }) => ok(meta.make(caller(), dir, 'new', { ...FILE, type: 3, target: 'file' })),
  link: ({ meta, caller, dir, file }) => ok(meta.link(caller(), file, dir, 'new')),
  unlink: ({ meta, caller, dir }) => ok(meta.unlink(caller(), dir, 'file')),
  'unlink of an empty file': ({ meta, caller, dir }) => ok(meta.unlink(caller(), dir, 'empty')),
  rmdir: ({ meta, caller, dir }) => ok(meta.rmdir(caller(), dir, 'sub')),
  rename: ({ meta, caller, dir }) =>
    ok(meta.rename(caller(), { parent: dir, name: 'file' }, { parent: dir, name: 'new' }, 0)),
  'rename over an empty file': ({ meta, caller, dir }) =>
    ok(meta.rename(caller(), { parent: dir, name: 'file' }, { parent: dir, name: 'empty' }, 0)),
  'rename to another directory': ({ meta, caller, top, dir }) =>
    ok(meta.rename(caller(), { parent: dir, name: 'file' }, { parent: top, name: 'new' }, 0)),
  chmod: ({ meta, caller, file }) => ok(meta.setattr(caller(), file, { mode: 0o600 })),
  utimes: ({ meta, caller, file }) => ok(meta.setattr(caller(), file, { mtime: 'now' })),
  truncate: ({ meta, caller, file }) => ok(meta.truncate(caller(), file, 7, true)),
  writeSlice: async ({ meta, caller, file }) =>
    ok(meta.writeSlice(file, 0, 100, SLICE(await meta.newSliceId()), caller().now)),
}

/** The kernel has just looked at everything. */
export async function lookAround({ meta, caller, top, dir }: Scene): Promise<void> {
  await meta.lookup(caller(), top, 'dir')
  for (const name of ['file', 'empty', 'sub', 'new']) await meta.lookup(caller(), dir, name)
  await meta.getattr(top)
  await meta.lookup(caller(), top, 'new')
}
