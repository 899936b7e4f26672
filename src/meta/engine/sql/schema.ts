/** The tables of a volume, as the reference client makes them: its schema sync compares names, types and nullability at
 *  every session start and must find nothing to do (spec meta-sql section 2). Each engine spells the types. Older volumes
 *  lack tables and columns: an engine adds them, as the reference does. */

/** Columns are NOT NULL except the `maybe` ones; `key` and `nameKey` are the primary key. */
export type ColumnType =
  | 'bigint'
  | 'int'
  | 'maybeBigint'
  | 'maybeInt'
  /** an int that is 0 unless told */
  | 'nanos'
  /** bigint, primary key */
  | 'key'
  /** bigint, primary key, counts up by itself */
  | 'serial'
  /** the same as int */
  | 'intSerial'
  /** up to 255 characters, primary key */
  | 'nameKey'
  /** up to 255 characters */
  | 'varchar'
  | 'text'
  /** up to 255 bytes */
  | 'nameBytes'
  /** up to 4096 bytes */
  | 'targetBytes'
  | 'bytes'
  | 'maybeBytes'

export interface Table {
  readonly name: string
  readonly columns: Readonly<Record<string, ColumnType>>
  /** a primary key of several columns */
  readonly key?: readonly string[]
  /** index name → its columns; a name that begins with UQE is unique, `T` in it is the full table name */
  readonly indexes?: Readonly<Record<string, readonly string[]>>
}

/** The name of an index: `UQE_T_edge` of `jfs_edge` is `UQE_jfs_edge_edge`. */
export const indexName = (pattern: string, table: string): string => pattern.replace('_T_', `_${table}_`)

/** What every table's name begins with. */
export const tablePrefix = (option: string): string => (option === '' ? 'jfs_' : `jfs_${option}_`)

/** In the order in which the reference makes them. */
export const TABLES: readonly Table[] = [
  { name: 'setting', columns: { name: 'nameKey', value: 'text' } },
  { name: 'counter', columns: { name: 'nameKey', value: 'bigint' } },
  {
    name: 'edge',
    columns: { id: 'serial', parent: 'bigint', name: 'nameBytes', inode: 'bigint', type: 'int' },
    indexes: { UQE_T_edge: ['parent', 'name'], IDX_T_inode: ['inode'] },
  },
  {
    name: 'node',
    columns: {
      inode: 'key',
      type: 'int',
      flags: 'int',
      mode: 'int',
      uid: 'int',
      gid: 'int',
      atime: 'bigint',
      mtime: 'bigint',
      ctime: 'bigint',
      atimensec: 'nanos',
      mtimensec: 'nanos',
      ctimensec: 'nanos',
      nlink: 'int',
      length: 'bigint',
      rdev: 'maybeInt',
      parent: 'maybeBigint',
      access_acl_id: 'maybeInt',
      default_acl_id: 'maybeInt',
      tier_id: 'maybeInt',
    },
  },
  { name: 'symlink', columns: { inode: 'key', target: 'targetBytes' } },
  {
    name: 'xattr',
    columns: { id: 'serial', inode: 'bigint', name: 'varchar', value: 'bytes' },
    indexes: { UQE_T_name: ['inode', 'name'] },
  },
  {
    name: 'chunk',
    columns: { id: 'serial', inode: 'bigint', indx: 'int', slices: 'bytes' },
    indexes: { UQE_T_chunk: ['inode', 'indx'] },
  },
  {
    name: 'chunk_ref',
    columns: { chunkid: 'key', size: 'int', refs: 'int' },
    indexes: { IDX_T_refs: ['refs'] },
  },
  { name: 'delslices', columns: { chunkid: 'key', deleted: 'bigint', slices: 'bytes' } },
  { name: 'session2', columns: { sid: 'key', expire: 'bigint', info: 'maybeBytes' } },
  {
    name: 'sustained',
    columns: { id: 'serial', sid: 'bigint', inode: 'bigint' },
    indexes: { UQE_T_sustained: ['sid', 'inode'] },
  },
  { name: 'delfile', columns: { inode: 'key', length: 'bigint', expire: 'bigint' } },
  {
    name: 'flock',
    columns: { id: 'serial', inode: 'bigint', sid: 'bigint', owner: 'bigint', ltype: 'int' },
    indexes: { UQE_T_flock: ['inode', 'sid', 'owner'] },
  },
  {
    name: 'plock',
    columns: { id: 'serial', inode: 'bigint', sid: 'bigint', owner: 'bigint', records: 'bytes' },
    indexes: { UQE_T_plock: ['inode', 'sid', 'owner'] },
  },
  {
    name: 'dir_quota',
    columns: { inode: 'key', max_space: 'bigint', max_inodes: 'bigint', used_space: 'bigint', used_inodes: 'bigint' },
  },
  {
    name: 'user_group_quota',
    columns: {
      qtype: 'int',
      qkey: 'bigint',
      max_space: 'bigint',
      max_inodes: 'bigint',
      used_space: 'bigint',
      used_inodes: 'bigint',
    },
    key: ['qtype', 'qkey'],
  },
  { name: 'dir_stats', columns: { inode: 'key', data_length: 'bigint', used_space: 'bigint', used_inodes: 'bigint' } },
  { name: 'detached_node', columns: { inode: 'key', added: 'bigint' } },
  {
    name: 'acl',
    columns: {
      id: 'intSerial',
      owner: 'maybeInt',
      group: 'maybeInt',
      mask: 'maybeInt',
      other: 'maybeInt',
      named_users: 'maybeBytes',
      named_groups: 'maybeBytes',
    },
  },
  { name: 'delegation_token', columns: { id: 'intSerial', token: 'maybeBytes' } },
  { name: 'change_log', columns: { id: 'serial', entry: 'text' } },
]
