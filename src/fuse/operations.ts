/** All that is offered, by opcode. What is missing is answered ENOSYS, after which the kernel does not ask again: STATX would
 *  only add a birth time, which the format does not have; BMAP and POLL mean nothing here; SYNCFS is sent to virtiofs only. */

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
