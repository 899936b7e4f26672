/** All that is offered, by opcode. What is missing is answered ENOSYS, after which the kernel does not ask again: STATX would
 *  only add a birth time, which the format does not have; BMAP and POLL mean nothing here; SYNCFS is sent to virtiofs only. */

import * as K from './constants.ts'
import { fileOperations } from './file-operations.ts'
import { lockOperations } from './lock-operations.ts'
import type { Operation } from './operation.ts'
import { treeOperations } from './tree-operations.ts'
import { xattrOperations } from './xattr-operations.ts'

export const OPERATIONS: readonly (Operation | undefined)[] = (() => {
  const all: (Operation | undefined)[] = []
  for (const { byOpcode } of [treeOperations, fileOperations, xattrOperations, lockOperations])
    byOpcode.forEach((operation, opcode) => {
      all[opcode] = operation
    })
  // No holes, so that looking one up stays fast.
  return Array.from(all)
})()

/** Requests that name an inode and nothing below it, or make a name in it: ENOENT can only mean that the inode is gone, while the
 *  kernel still keeps a name for it. Told ESTALE it walks the path once more and asks for every name (fs/namei.c, LOOKUP_REVAL): a
 *  name that another client has replaced is found again, and one that it has removed is ENOENT. */
export const OF_INODES: readonly boolean[] = Array.from({ length: OPERATIONS.length }, (_, opcode) =>
  [
    [K.GETATTR, K.SETATTR, K.READLINK, K.OPEN, K.OPENDIR, K.ACCESS, K.STATFS],
    [K.GETXATTR, K.SETXATTR, K.LISTXATTR, K.REMOVEXATTR],
    [K.CREATE, K.TMPFILE, K.MKNOD, K.MKDIR, K.SYMLINK, K.LINK],
  ].some(opcodes => opcodes.includes(opcode)),
)
