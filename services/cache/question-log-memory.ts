import { LRUCache } from "lru-cache";
import type { Clock } from "../../runtime/clock.js";
import { type EntryScope, type Question, type QuestionLog, QUESTIONS_A_SCOPE } from "./store.js";

/** Texts of all scopes together: those of the scope used least recently make room. */
const MAX_QUESTIONS = 100_000;

interface ScopeQuestions {
  readonly scope: EntryScope;
  readonly numbered: readonly Numbered[];
  /** On the monotonic clock. */
  readonly expiresAt: number;
}

interface Numbered {
  /** One count for all scopes, so that a scope that comes back never repeats a number. */
  readonly number: number;
  readonly question: Question;
}

/** A question log in this process's memory. */
export class MemoryQuestionLog implements QuestionLog {
  readonly #clock: Clock;
  readonly #scopes = new LRUCache<string, ScopeQuestions>({
    maxSize: MAX_QUESTIONS,
    sizeCalculation: ({ numbered }) => numbered.length,
  });
  #last = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async add(scope: EntryScope, questions: readonly Question[], ttlMs: number): Promise<void> {
    const newer = questions.map((question) => ({ number: ++this.#last, question }));
    const numbered = [...this.#numbered(scope), ...newer].slice(-QUESTIONS_A_SCOPE);
    this.#scopes.set(scope.id, { scope, numbered, expiresAt: this.#clock.monotonic() + ttlMs });
  }

  async readAfter(scope: EntryScope, cursor: string): Promise<{ questions: Question[]; cursor: string }> {
    const unread = this.#numbered(scope).filter(({ number }) => number > Number(cursor));
    return { questions: unread.map(({ question }) => question), cursor: String(unread.at(-1)?.number ?? cursor) };
  }

  #numbered(scope: EntryScope): readonly Numbered[] {
    const known = this.#scopes.get(scope.id);
    return known !== undefined && known.expiresAt > this.#clock.monotonic() ? known.numbered : [];
  }

  /** Forgets the questions of the scopes that `named` names. */
  forget(named: (scope: EntryScope) => boolean): void {
    for (const { scope } of [...this.#scopes.values()]) if (named(scope)) this.#scopes.delete(scope.id);
  }
}
