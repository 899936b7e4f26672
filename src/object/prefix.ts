/** A store seen through a prefix: everything of a volume lies below `{volume name}/` (spec data-objects section 1.1). */

import type { ObjectFiles, ObjectInfo, ObjectStore } from './store.ts'

export function withPrefix(store: ObjectStore, prefix: string): ObjectStore {
  const strip = (info: ObjectInfo): ObjectInfo => ({ ...info, key: info.key.slice(prefix.length) })
  const wrapped: ObjectStore = {
    description: store.description + prefix,
    limits: store.limits,
    files: store.files && filesBelow(store.files, prefix),
    get: (key, range, expectedBytes) => store.get(prefix + key, range, expectedBytes),
    put: (key, body) => store.put(prefix + key, body),
    delete: key => store.delete(prefix + key),
    async head(key) {
      const info = await store.head(prefix + key)
      return info && strip(info)
    },
    async list(keyPrefix, marker, limit) {
      const infos = await store.list(prefix + keyPrefix, marker === '' ? '' : prefix + marker, limit)
      return infos.map(strip)
    },
    create: () => store.create(),
    close: () => store.close(),
  }
  const sync = store.sync?.bind(store)
  if (sync) wrapped.sync = keys => sync(keys.map(key => prefix + key))
  return wrapped
}

const filesBelow = ({ directories, pathOf }: ObjectFiles, prefix: string): ObjectFiles => ({
  directories: directories.map(directory => directory + prefix),
  pathOf: key => pathOf(prefix + key),
})
