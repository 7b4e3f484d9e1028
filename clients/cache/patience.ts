/** The service said nothing for as long as a caller of a cache waits. */
export class CacheSilentError extends Error {
  override name = "CacheSilentError";
}

/**
 * Resolves as `work` does, or rejects with CacheSilentError after `ms` without an answer; `work` goes on. The time is
 * waited for in two parts, so that a stall of this process's own event loop, which ends both clocks and answers late,
 * is not taken for silence of the service.
 */
export function withPatience<T>(work: Promise<T>, ms: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const giveUp = () => reject(new CacheSilentError(`no answer within ${ms} ms`));
    let timer = setTimeout(() => {
      timer = setTimeout(() => setImmediate(giveUp), ms / 2);
    }, ms / 2);
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
