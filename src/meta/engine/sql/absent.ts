import type { Fact, Read } from '../../facts.ts'

/** What a fact is where its table does not exist: in volumes of old clients, and in databases without a volume. */
export function absent(read: Read): Fact {
  switch (read.kind) {
    case 'chunkIndexes':
    case 'xattrNames':
    case 'flocks':
    case 'plocks':
    case 'parents':
    case 'ancestors':
      return []
    case 'sustained':
      return false
    case 'counter':
    case 'aclId':
      return 0
    default:
      return null
  }
}
