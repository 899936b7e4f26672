/** Pages of a bucket's listing. */

import type { ObjectInfo } from '../store.ts'
import { parseXml } from '../xml.ts'

export interface ListPage {
  readonly infos: readonly ObjectInfo[]
  readonly isTruncated: boolean
  /** of version 2 */
  readonly continuationToken: string | undefined
}

interface ListBucketResult {
  readonly ListBucketResult?: {
    readonly IsTruncated?: string
    readonly NextContinuationToken?: string
    readonly EncodingType?: string
    readonly Contents?: readonly { readonly Key: string; readonly Size: string; readonly LastModified: string }[]
  }
}

export function parseListing(body: Buffer): ListPage {
  const { ListBucketResult: result = {} } = parseXml(body.toString('utf8'), ['Contents']) as ListBucketResult
  const decode = result.EncodingType === 'url' ? decodeKey : (key: string): string => key
  return {
    infos: (result.Contents ?? []).map(({ Key, Size, LastModified }) => {
      const key = decode(Key)
      return { key, size: Number(Size), mtimeMs: Date.parse(LastModified), isDirectory: key.endsWith('/') }
    }),
    isTruncated: result.IsTruncated === 'true',
    continuationToken: result.NextContinuationToken,
  }
}

/** Some servers write a space as plus, as in forms. */
const decodeKey = (key: string): string => decodeURIComponent(key.replaceAll('+', ' '))
