/** The volume setting written by `format` (spec meta-setting). Keys are spelled as stored; unknown keys are kept in place. */

export interface Tier {
  readonly ID: number
  readonly StorageClass: string
  readonly Tag: string
}
export interface Format {
  readonly Name: string
  readonly UUID: string
  readonly Storage: string
  readonly StorageClass?: string
  readonly Tiers?: Readonly<Record<string, Tier>> | null
  readonly Bucket: string
  readonly AccessKey?: string
  readonly SecretKey?: string
  readonly SessionToken?: string
  /** KiB */
  readonly BlockSize: number
  readonly Compression?: string
  readonly Shards?: number
  readonly HashPrefix?: boolean
  /** bytes; 0 or absent = unlimited */
  readonly Capacity?: number
  readonly Inodes?: number
  readonly EncryptKey?: string
  readonly EncryptAlgo?: string
  readonly KeyEncrypted?: boolean
  /** Mbps */
  readonly UploadLimit?: number
  readonly DownloadLimit?: number
  readonly TrashDays: number
  readonly MetaVersion?: number
  readonly MinClientVersion?: string
  readonly MaxClientVersion?: string
  readonly DirStats?: boolean
  readonly UserGroupQuota?: boolean
  readonly EnableACL: boolean
  readonly RangerRestUrl?: string
  readonly RangerService?: string
  readonly ChangeLog?: boolean
  readonly ChangeLogMaxAge?: number
  readonly ChangeLogMaxLines?: number
  readonly KerbConf?: string
}
