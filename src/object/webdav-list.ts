/** Answers to PROPFIND (RFC 4918 section 14.16). */

import type { ObjectInfo } from './store.ts'
import { parseXml } from './xml.ts'

interface Multistatus {
  readonly multistatus?: {
    readonly response?: readonly {
      readonly href?: string
      readonly propstat?: readonly { readonly status?: string; readonly prop?: Properties }[]
    }[]
  }
}
interface Properties {
  readonly resourcetype?: string | { readonly collection?: unknown }
  readonly getcontentlength?: string
  readonly getlastmodified?: string
}

/** `root`: the escaped path below which keys begin. What lies elsewhere is left out. */
export function parseMultistatus(body: Buffer, root: string): ObjectInfo[] {
  const { multistatus = {} } = parseXml(body.toString('utf8'), ['response', 'propstat']) as Multistatus
  const infos: ObjectInfo[] = []
  const base = decodeURIComponent(root)
  for (const { href = '', propstat = [] } of multistatus.response ?? []) {
    const prop = (propstat.find(({ status = '' }) => / 2\d\d/.test(status)) ?? propstat[0])?.prop ?? {}
    const type = prop.resourcetype
    const isDirectory = typeof type === 'object' && 'collection' in type
    const path = decodeURIComponent(new URL(href.trim(), 'http://server').pathname)
    const full = isDirectory && !path.endsWith('/') ? `${path}/` : path
    if (!full.startsWith(base)) continue
    const size = isDirectory ? 0 : Number(prop.getcontentlength ?? 0)
    infos.push({
      key: full.slice(base.length),
      size,
      mtimeMs: Date.parse(prop.getlastmodified ?? '') || 0,
      isDirectory,
    })
  }
  return infos
}
