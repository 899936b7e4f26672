/** Every row of an engine's scan, page by page, for commands that have no metadata client. */

import type { Cursor, Engine, Page, ScanKind, Scans } from '../meta/engine.ts'

const PAGE = 1000

export async function* allRows<K extends ScanKind>(
  engine: Engine,
  kind: K,
  args: Scans[K]['args'],
): AsyncGenerator<Scans[K]['row']> {
  let cursor: Cursor | null = null
  do {
    const page: Page<Scans[K]['row']> = await engine.scan(kind, args, cursor, PAGE)
    yield* page.rows
    cursor = page.next
  } while (cursor !== null)
}
