/** Runs `work` on at most `limit` items at once and yields the results in the items' order. The first error ends it. */
export async function* inParallel<T, R>(items: AsyncIterable<T>, limit: number, work: (item: T) => Promise<R>): AsyncGenerator<R> {
  const running: Promise<R>[] = [];
  for await (const item of items) {
    const one = work(item);
    // It may fail before its turn has come, or after the consumer has stopped: nobody looks then.
    one.catch(() => {});
    running.push(one);
    if (running.length >= limit) yield await running.shift()!;
  }
  while (running.length > 0) yield await running.shift()!;
}
