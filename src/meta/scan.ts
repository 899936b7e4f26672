/** An engine's scans from beginning to end, page by page: never more than a page in memory, no database cursor held meanwhile. */

import type { Cursor, Engine, Page, ScanKind, Scans } from './engine.ts'

const PAGE = 1000

type Row<K extends ScanKind> = Scans[K]['row']

export async function* pagesOf<K extends ScanKind>(
  engine: Engine,
  kind: K,
  args: Scans[K]['args'],
  limit = PAGE,
): AsyncGenerator<readonly Row<K>[]> {
  let cursor: Cursor | null = null
  do {
    const page: Page<Row<K>> = await engine.scan(kind, args, cursor, limit)
    yield page.rows
    cursor = page.next
  } while (cursor !== null)
}

export async function* rowsOf<K extends ScanKind>(
  engine: Engine,
  kind: K,
  args: Scans[K]['args'],
  limit = PAGE,
): AsyncGenerator<Row<K>> {
  for await (const rows of pagesOf(engine, kind, args, limit)) yield* rows
}
