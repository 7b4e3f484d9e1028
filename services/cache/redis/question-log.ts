import type { RedisClient } from "../../../runtime/redis.js";
import { type EntryScope, type Question, type QuestionLog, QUESTIONS_A_SCOPE } from "../store.js";
import type { ShardKeys } from "./keys.js";

/** A question log in Redis: a stream for each scope. Its entries' ids only grow, also when it was evicted and begins anew. */
export class RedisQuestionLog implements QuestionLog {
  readonly #client: RedisClient;
  readonly #shardOf: (scopeId: string) => ShardKeys;

  constructor(client: RedisClient, shardOf: (scopeId: string) => ShardKeys) {
    this.#client = client;
    this.#shardOf = shardOf;
  }

  async add(scope: EntryScope, questions: readonly Question[], ttlMs: number): Promise<void> {
    const key = this.#shardOf(scope.id).questions(scope.id);
    const pipeline = this.#client.pipeline();
    for (const { hash, text } of questions) {
      pipeline.xadd(key, "MAXLEN", "~", QUESTIONS_A_SCOPE, "*", "h", Buffer.from(hash).toString("base64url"), "t", text);
    }
    pipeline.pexpire(key, ttlMs);
    await pipeline.exec();
  }

  async readAfter(scope: EntryScope, cursor: string): Promise<{ questions: Question[]; cursor: string }> {
    const key = this.#shardOf(scope.id).questions(scope.id);
    const entries = await this.#client.xrange(key, cursor === "" ? "-" : `(${cursor}`, "+");
    const questions = entries.flatMap(([, [, hash, , text]]) =>
      hash === undefined || text === undefined ? [] : [{ hash: Buffer.from(hash, "base64url"), text }],
    );
    return { questions, cursor: entries.at(-1)?.[0] ?? cursor };
  }

  async forget(scopeIds: readonly string[]): Promise<void> {
    await Promise.all(scopeIds.map((id) => this.#client.unlink(this.#shardOf(id).questions(id))));
  }
}
