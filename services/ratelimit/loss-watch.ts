import type { RedisClient } from "../../runtime/redis.js";

/** The key that remembers which Redis process holds the state, and since when. */
const MARKER = "ragents:ratelimit:process";

/**
 * Knows since when the store has forgotten nothing. Every new Redis process (a restart, a replica that was promoted) may
 * lack what the last one had decided; each new connection may lead to one, so it is asked before it is used.
 */
export class LossWatch {
  readonly #client: RedisClient;
  readonly #script: string;
  readonly #forget = () => {
    this.#lostAt = undefined;
  };
  #lostAt: number | undefined;
  #asking: Promise<number> | undefined;

  /** @param timeSource Lua that sets `now` */
  constructor(client: RedisClient, timeSource: string) {
    this.#client = client;
    this.#script = markerScript(timeSource);
    client.on("close", this.#forget);
  }

  /** When decisions may have been lost for the last time, in the store's milliseconds. Rejects when Redis does not answer. */
  lostAt(): Promise<number> {
    if (this.#lostAt !== undefined) return Promise.resolve(this.#lostAt);
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  close(): void {
    this.#client.off("close", this.#forget);
  }

  async #ask(): Promise<number> {
    const answer = (await this.#client.eval(this.#script, 1, MARKER)) as string;
    // Before the connection's end can be heard of, so that this is never older than the connection.
    this.#lostAt = Number(answer);
    return this.#lostAt;
  }
}

/** The marker holds the process's run id and the time at which it was first seen; the first replica to see a new one says when. */
function markerScript(timeSource: string): string {
  return `
${timeSource}
local process = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local known = redis.call('GET', KEYS[1])
if known then
  local seen, since = string.match(known, '^(%x+) (%d+)$')
  if seen == process then return since end
end
local since = string.format('%.0f', math.ceil(now))
redis.call('SET', KEYS[1], process .. ' ' .. since)
return since
`;
}
