/** The texts of all changes, by name. `… unseen`: without "or replace". */

import { NODE_COLUMNS } from '../sql/columns.ts'
import { utf8 } from './questions.ts'
import type { Tables } from './tables.ts'

export function changeTexts(tables: Tables): Readonly<Record<string, string>> {
  const t = tables.name
  return {
    ...nodeTexts(t),
    ...chunkTexts(t),
    ...xattrTexts(t),
    ...stateTexts(t),
    ...accountTexts(t),
  }
}

type TableName = (table: string) => string

/** An INSERT of these columns in order, `$1`, `$2`, …, that replaces all but the first `keys` of them; and one that does not. */
function upsert(name: string, table: string, columns: readonly string[], keys = 1): Record<string, string> {
  const insert = `INSERT INTO ${table} (${columns.join(', ')}) VALUES (${columns.map((_, i) => `$${i + 1}`).join(', ')})`
  const set = columns.map((column, i) => `${column} = $${i + 1}`).slice(keys)
  return { [name]: `${insert} ON DUPLICATE KEY UPDATE ${set.join(', ')}`, [`${name} unseen`]: insert }
}

const nodeTexts = (t: TableName): Record<string, string> => ({
  newNode: `INSERT INTO ${t('node')} (inode, ${NODE_COLUMNS.join(', ')})
    VALUES ($1, ${NODE_COLUMNS.map((_, i) => `$${i + 2}`).join(', ')})`,
  putNode: `UPDATE ${t('node')} SET ${NODE_COLUMNS.map((name, i) => `${name} = $${i + 2}`).join(', ')} WHERE inode = $1`,
  adjustLinks: `UPDATE ${t('node')} SET nlink = nlink + $2 WHERE inode = $1`,
  adjustTimes: `UPDATE ${t('node')} SET nlink = nlink + $2, mtime = $3, ctime = $3, mtimensec = $4, ctimensec = $4
    WHERE inode = $1`,
  extendNode: `UPDATE ${t('node')} SET length = greatest(length, $2), mtime = $3, ctime = $4, mtimensec = $5, ctimensec = $6
    WHERE inode = $1`,
  delNode: `DELETE FROM ${t('node')} WHERE inode = $1`,
  newDentry: `INSERT INTO ${t('edge')} (parent, name, inode, type) VALUES ($1, $2, $3, $4)`,
  setDentry: `UPDATE ${t('edge')} SET inode = $3, type = $4 WHERE parent = $1 AND name = $2 AND inode = $5 AND type = $6`,
  delDentry: `DELETE FROM ${t('edge')} WHERE parent = $1 AND name = $2`,
  takeDentry: `DELETE FROM ${t('edge')} WHERE parent = $1 AND name = $2 AND inode = $3 AND type = $4`,
  ...upsert('putSymlink', t('symlink'), ['inode', 'target']),
  delSymlink: `DELETE FROM ${t('symlink')} WHERE inode = $1`,
})

const chunkTexts = (t: TableName): Record<string, string> => ({
  appendSlices: `INSERT INTO ${t('chunk')} (inode, indx, slices) VALUES ($1, $2, $3)
    ON DUPLICATE KEY UPDATE slices = concat(slices, $3)`,
  slicesLength: `SELECT length(slices) FROM ${t('chunk')} WHERE inode = $1 AND indx = $2`,
  replaceSlices: `UPDATE ${t('chunk')} SET slices = concat($3, substr(slices, $4 + 1)) WHERE inode = $1 AND indx = $2`,
  delChunk: `DELETE FROM ${t('chunk')} WHERE inode = $1 AND indx = $2`,
  newSlice: `INSERT INTO ${t('chunk_ref')} (chunkid, size, refs) VALUES ($1, $2, $3)`,
  refSlice: `UPDATE ${t('chunk_ref')} SET refs = refs + $3 WHERE chunkid = $1 AND size = $2`,
  refsLeft: `SELECT refs FROM ${t('chunk_ref')} WHERE chunkid = $1 AND size = $2`,
  delSliceRefs: `DELETE FROM ${t('chunk_ref')} WHERE chunkid = $1 AND size = $2`,
  ...upsert('deadFile', t('delfile'), ['inode', 'length', 'expire']),
  delDeadFile: `DELETE FROM ${t('delfile')} WHERE inode = $1`,
  ...upsert('trashSlices', t('delslices'), ['chunkid', 'deleted', 'slices']),
  delTrashedSlices: `DELETE FROM ${t('delslices')} WHERE chunkid = $1 AND deleted = $2`,
})

const xattrTexts = (t: TableName): Record<string, string> => ({
  ...upsert('putXattr', t('xattr'), ['inode', 'name', 'value'], 2),
  delXattr: `DELETE FROM ${t('xattr')} WHERE inode = $1 AND ${utf8('name')} = $2`,
  delXattrs: `DELETE FROM ${t('xattr')} WHERE inode = $1`,
})

const stateTexts = (t: TableName): Record<string, string> => ({
  sustain: `INSERT INTO ${t('sustained')} (sid, inode) VALUES ($1, $2) ON DUPLICATE KEY UPDATE inode = $2`,
  unsustain: `DELETE FROM ${t('sustained')} WHERE sid = $1 AND inode = $2`,
  ...upsert('putFlock', t('flock'), ['inode', 'sid', 'owner', 'ltype'], 3),
  delFlock: `DELETE FROM ${t('flock')} WHERE inode = $1 AND sid = $2 AND owner = $3`,
  ...upsert('putPlock', t('plock'), ['inode', 'sid', 'owner', 'records'], 3),
  delPlock: `DELETE FROM ${t('plock')} WHERE inode = $1 AND sid = $2 AND owner = $3`,
  ...upsert('putSession', t('session2'), ['sid', 'expire', 'info']),
  ...upsert('putExpire', t('session2'), ['sid', 'expire']),
  delFlocksOf: `DELETE FROM ${t('flock')} WHERE sid = $1`,
  delPlocksOf: `DELETE FROM ${t('plock')} WHERE sid = $1`,
  delSession: `DELETE FROM ${t('session2')} WHERE sid = $1`,
})

const accountTexts = (t: TableName): Record<string, string> => {
  const quota = ['max_space', 'max_inodes', 'used_space', 'used_inodes']
  return {
    ...upsert('putDirUsage', t('dir_stats'), ['inode', 'data_length', 'used_space', 'used_inodes']),
    delDirUsage: `DELETE FROM ${t('dir_stats')} WHERE inode = $1`,
    ...upsert('putDirQuota', t('dir_quota'), ['inode', ...quota]),
    delDirQuota: `DELETE FROM ${t('dir_quota')} WHERE inode = $1`,
    ...upsert('putOwnerQuota', t('user_group_quota'), ['qtype', 'qkey', ...quota], 2),
    delOwnerQuota: `DELETE FROM ${t('user_group_quota')} WHERE qtype = $1 AND qkey = $2`,
    ...upsert('putCounter', t('counter'), ['name', 'value']),
    newCounter: `INSERT INTO ${t('counter')} (name, value) VALUES ($1, $2) ON DUPLICATE KEY UPDATE value = value`,
    putFormat: `INSERT INTO ${t('setting')} (name, value) VALUES ('format', $1) ON DUPLICATE KEY UPDATE value = $1`,
    'putFormat unseen': `INSERT INTO ${t('setting')} (name, value) VALUES ('format', $1)`,
  }
}
