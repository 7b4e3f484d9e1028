/**
 * Works on what arrives, at most `limit` at once, and gives the results in the order of arrival. Ends with the source, or
 * when `stop` aborts with what was begun; throws what it or the work throws.
 */
export async function* inOrder<A, B>(
  source: AsyncIterable<A>,
  { limit, stop }: { limit: number; stop?: AbortSignal | undefined },
  work: (item: A) => Promise<B>,
): AsyncGenerator<B> {
  const results: Promise<B>[] = [];
  let failure: unknown;
  let ended = false;
  let wakeReader = () => {};
  let wakeWriter = () => {};
  const read = async () => {
    for await (const item of source) {
      if (ended) return;
      const result = work(item);
      // It is awaited below, but perhaps after it failed.
      result.catch(() => {});
      results.push(result);
      wakeWriter();
      while (results.length >= limit && !ended) await new Promise<void>((resolve) => (wakeReader = resolve));
      if (ended) return;
    }
  };
  const end = () => {
    ended = true;
    wakeWriter();
  };
  stop?.addEventListener("abort", end, { once: true });
  if (stop?.aborted === true) end();
  void read()
    .catch((error: unknown) => (failure = error))
    .finally(end);
  try {
    for (;;) {
      const next = results[0];
      if (next !== undefined) {
        const result = await next;
        results.shift();
        wakeReader();
        yield result;
      } else if (ended) {
        if (failure !== undefined) throw failure;
        return;
      } else {
        await new Promise<void>((resolve) => (wakeWriter = resolve));
      }
    }
  } finally {
    stop?.removeEventListener("abort", end);
    ended = true;
    wakeReader();
  }
}
