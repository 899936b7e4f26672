/** Node's callback API as promises: `await call(done => fs.open(path, 'r', done))`. fs.promises does the same for about
 *  twice the CPU a call, which counts where every block is four calls. */

export type Callback<T> = (error: NodeJS.ErrnoException | null, value?: T) => void

export function call<T>(start: (done: Callback<T>) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    start((error, value) => (error ? reject(error) : resolve(value as T)))
  })
}

/** For calls whose failure nobody can do anything about, such as closing a file that was only read. */
export const ignore = (): void => {}

/** `ENOENT` and the like; undefined where the error has none. */
export const codeOf = (error: unknown): string | undefined => (error as { code?: string } | null)?.code
