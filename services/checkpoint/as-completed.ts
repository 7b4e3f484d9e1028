import { Channel } from "../../runtime/channel.js";

/**
 * Works on what arrives, at most `limit` at once, and gives the results as they come. Ends when the source has, or when
 * `stop` aborts, and the work that was begun is done; throws what the source or the work throws.
 */
export async function* asCompleted<A, B>(
  source: AsyncIterable<A>,
  { limit, stop }: { limit: number; stop: AbortSignal },
  work: (item: A) => Promise<B>,
): AsyncGenerator<B> {
  const results = new Channel<B>();
  let running = 0;
  let ending = false;
  let wakeReader = () => {};
  const end = () => {
    ending = true;
    wakeReader();
    if (running === 0) results.close();
  };
  const begin = (item: A) => {
    running += 1;
    work(item)
      .then(
        (result) => results.push(result),
        (error: unknown) => results.close(error),
      )
      .finally(() => {
        running -= 1;
        wakeReader();
        if (ending) end();
      });
  };
  const read = async () => {
    for await (const item of source) {
      while (running >= limit && !ending) await new Promise<void>((resolve) => (wakeReader = resolve));
      if (ending) return;
      begin(item);
    }
  };
  stop.addEventListener("abort", end, { once: true });
  if (stop.aborted) end();
  read().then(end, (error: unknown) => results.close(error));
  try {
    yield* results;
  } finally {
    stop.removeEventListener("abort", end);
    end();
  }
}
