/** A result that is there already, or will be. Hot paths stay synchronous when the engine or the cache can answer at
 *  once (an await costs about a microsecond and a turn), so they ask before they await. */

export type Maybe<T> = T | Promise<T>

export const isPromise = <T>(value: Maybe<T>): value is Promise<T> => value instanceof Promise

/** `value.then(next)` without a promise where none is needed. */
export function chain<T, U>(value: Maybe<T>, next: (value: T) => Maybe<U>): Maybe<U> {
  return value instanceof Promise ? value.then(next) : next(value)
}
