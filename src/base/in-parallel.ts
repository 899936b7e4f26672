/** Runs `work` on everything that `items` yields, at most `count` at a time, and no more is taken than that. After a failure nothing
 *  new is begun; rejects with it when what was running has ended. */
export async function inParallel<T>(
  items: AsyncIterator<T, unknown, undefined>,
  count: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  let failure: { readonly error: unknown } | undefined
  const worker = async (): Promise<void> => {
    // Asked by several at once, a generator answers them in turn.
    for (let next = await items.next(); !next.done && !failure; next = await items.next()) await work(next.value)
  }
  const guarded = (): Promise<void> =>
    worker().catch(error => {
      failure ??= { error }
    })
  await Promise.all(Array.from({ length: count }, guarded))
  if (!failure) return
  await items.return?.()
  throw failure.error
}
