import { LRUCache } from "lru-cache";
import { CacheKind } from "../../../gen/ragents/cache/v1/cache_pb.js";
import type { StaticEmbedder } from "../../../runtime/embedding/static-embedder.js";
import type { Logger } from "../../../runtime/logger.js";
import { overriding } from "../../../runtime/overriding.js";
import type { CacheStore, EntryScope, GetGroup, PutGroup, PutOutcome, Question, StoreLookup } from "../store.js";
import { QuestionIndex } from "./question-index.js";

export interface SimilarAnswersOptions {
  embedder: Pick<StaticEmbedder, "embedText">;
  /** Cosine below which two questions are not compared at all. */
  minSimilarity: number;
  logger: Logger;
}

/** Indexed questions of all scopes together, about 1.5 KB each. */
const MAX_INDEXED = 50_000;

/**
 * The store, where a question of kind ANSWER that misses is answered with the answer to another question of the same
 * meaning in the same scope. Questions are known by the texts that came with them.
 */
export function withSimilarAnswers(store: CacheStore, options: SimilarAnswersOptions): CacheStore {
  const indexes = new LRUCache<string, QuestionIndex>({
    maxSize: MAX_INDEXED,
    sizeCalculation: (index) => Math.max(1, index.size),
  });

  async function get(groups: readonly GetGroup[]): Promise<StoreLookup[][]> {
    if (!groups.some(isEligible)) return store.get(groups);
    // Leases come last: who gets a similar answer makes none.
    const found = await store.get(groups.map((group) => (isEligible(group) ? { scope: group.scope, hashes: group.hashes } : group)));
    await Promise.all(
      groups.map(async (group, at) => {
        if (isEligible(group)) await answerMisses(group, found[at]!);
      }),
    );
    return found;
  }

  /** Fills in similar answers, then leases, for what was missed. */
  async function answerMisses(group: GetGroup, found: StoreLookup[]): Promise<void> {
    const missed = () => [...found.keys()].filter((item) => found[item]!.state === "miss");
    try {
      const asked = missed().filter((item) => group.texts?.[item] !== undefined && group.texts[item] !== "");
      if (asked.length > 0) {
        const index = await indexOf(group.scope);
        for (const item of asked) found[item] = (await similarTo(group.scope, index, group.texts![item]!)) ?? found[item]!;
      }
    } catch (err) {
      options.logger.debug("similar_answers_failed", { err });
    }
    const open = missed();
    if (group.leaseMs === undefined || open.length === 0) return;
    const [leases] = await store.get([{ scope: group.scope, hashes: open.map((item) => group.hashes[item]!), leaseMs: group.leaseMs }]);
    open.forEach((item, i) => (found[item] = leases![i]!));
  }

  async function similarTo(scope: EntryScope, index: QuestionIndex, text: string): Promise<StoreLookup | undefined> {
    for (const hash of index.find(text)) {
      const lookup = (await store.get([{ scope, hashes: [hash] }]))[0]![0]!;
      if (lookup.state === "hit") return { ...lookup, similar: true };
      // Expired, evicted or removed: its question goes too.
      index.delete(hash);
    }
    return undefined;
  }

  /** The scope's questions, with those that other replicas heard since. */
  async function indexOf(scope: EntryScope): Promise<QuestionIndex> {
    const index = indexes.get(scope.id) ?? new QuestionIndex(options.embedder, options.minSimilarity);
    const { questions, cursor } = await store.questions.readAfter(scope, index.cursor);
    for (const question of questions) index.add(question);
    index.cursor = cursor;
    indexes.set(scope.id, index);
    return index;
  }

  async function put(groups: readonly PutGroup[]): Promise<PutOutcome[][]> {
    const outcomes = await store.put(groups);
    await Promise.all(
      groups.map(async ({ scope, items }, at) => {
        if (scope.kind !== CacheKind.ANSWER) return;
        const stored = items.filter(({ text }, i) => outcomes[at]![i] === "stored" && text !== undefined && text !== "");
        if (stored.length === 0) return;
        const questions: Question[] = stored.map(({ hash, text }) => ({ hash, text: text! }));
        const ttlMs = Math.max(...stored.map((item) => item.ttlMs));
        await store.questions.add(scope, questions, ttlMs).catch((err: unknown) => options.logger.debug("similar_answers_failed", { err }));
      }),
    );
    return outcomes;
  }

  return overriding(store, { get, put });
}

function isEligible({ scope, texts }: GetGroup): boolean {
  return scope.kind === CacheKind.ANSWER && texts !== undefined && texts.length > 0;
}
