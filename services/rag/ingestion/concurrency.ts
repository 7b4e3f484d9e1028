/** Runs `work` on at most `limit` items at once and yields the results in the items' order. The first error ends it. */
export async function* inParallel<T, R>(items: AsyncIterable<T>, limit: number, work: (item: T) => Promise<R>): AsyncGenerator<R> {
  const running: Promise<R>[] = [];
  try {
    for await (const item of items) {
      running.push(work(item));
      if (running.length >= limit) yield await running.shift()!;
    }
    while (running.length > 0) yield await running.shift()!;
  } finally {
    // What is still under way when the consumer stops may fail without anyone looking.
    for (const one of running) one.catch(() => {});
  }
}
