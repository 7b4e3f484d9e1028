import { create } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { BrokenCircuitError } from "cockatiel";
import {
  type LookupGroup,
  LookupGroupSchema,
  type Lookups,
  LookupState,
  StreamGetRequestSchema,
} from "../../gen/ragents/cache/v1/cache_service_pb.js";
import type { CacheBreaker } from "./breaker.js";
import { type Lease, type ServiceKey, textToSend } from "./cache-calls.js";
import type { LookupStream } from "./lookup-stream.js";
import { withPatience } from "./patience.js";

/** What became of a lookup. */
export type Found =
  /** Similar: the answer to an equivalent question. */
  | { state: "hit"; value: Uint8Array; ttlMs: number; similar: boolean }
  | { state: "miss" }
  | { state: "leased"; lease: Lease }
  /** Another caller makes the value. */
  | { state: "filling" }
  /** The service failed, or was silent for too long. */
  | { state: "fault" }
  /** It was not asked: it failed several times in a row. */
  | { state: "skipped" };

/** A lookup on its way; settled exactly once. */
export interface PendingLookup extends ServiceKey {
  readonly takeLease: boolean;
  readonly settle: (found: Found) => void;
}

export interface LookupBatcherOptions {
  stream: LookupStream;
  breaker: CacheBreaker;
  /** Silence after which a lookup is a fault, in milliseconds. */
  patienceMs: number;
  /** Told the number of lookups of each request. */
  onBatch?: ((size: number) => void) | undefined;
  /** Called for a lease that came after its caller had stopped waiting. */
  leaseCameLate: (key: ServiceKey, lease: Lease) => void;
}

/** Lookups of one request: larger ones cost less each, smaller ones let this process and the service work at the same time. */
const MAX_LOOKUPS = 32;
/** A stream whose answer is so late is given up, in milliseconds. */
const GIVE_UP_MS = 2_000;

const MISS: Found = { state: "miss" };
const FILLING: Found = { state: "filling" };
const FAULT: Found = { state: "fault" };
const SKIPPED: Found = { state: "skipped" };

/** Sends what is looked up in one turn of the event loop together. Not made of promises: it is the way of every lookup. */
export class LookupBatcher {
  readonly #options: LookupBatcherOptions;
  #waiting: PendingLookup[] = [];

  constructor(options: LookupBatcherOptions) {
    this.#options = options;
  }

  add(lookup: PendingLookup): void {
    // setImmediate, not a microtask: all that is asked for in this turn of the loop is in.
    if (this.#waiting.length === 0) setImmediate(() => this.#flush());
    this.#waiting.push(lookup);
  }

  #flush(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (let start = 0; start < waiting.length; start += MAX_LOOKUPS) void this.#send(waiting.slice(start, start + MAX_LOOKUPS));
  }

  async #send(lookups: PendingLookup[]): Promise<void> {
    let open = lookups;
    this.#options.onBatch?.(lookups.length);
    try {
      // Values that one response has no room for are asked for again; each response has at least one.
      while (open.length > 0) open = await this.#ask(open);
    } catch (error) {
      const outcome = error instanceof BrokenCircuitError ? SKIPPED : FAULT;
      for (const lookup of open) lookup.settle(outcome);
    }
  }

  /** Settles the lookups but for those deferred, which it returns. Settles none when it throws. */
  async #ask(lookups: PendingLookup[]): Promise<PendingLookup[]> {
    const { stream, breaker, patienceMs } = this.#options;
    const { groups, order } = grouped(lookups);
    const answer = await breaker.execute(async () => {
      const asked = stream.ask(create(StreamGetRequestSchema, { groups }));
      return withPatience(asked, patienceMs).catch((error: unknown) => {
        this.#comeLate(asked, order);
        throw error;
      });
    });
    const deferred: PendingLookup[] = [];
    eachResult(answer, (at, found) => {
      const lookup = order[at];
      if (found === undefined) deferred.push(lookup!);
      else lookup?.settle(found);
    });
    if (deferred.length === lookups.length) throw new Error("the cache service deferred everything");
    return deferred;
  }

  /** After its callers have stopped waiting for an answer. */
  #comeLate(answer: Promise<Lookups>, order: PendingLookup[]): void {
    const giveUp = setTimeout(() => this.#options.stream.abandon(), GIVE_UP_MS);
    answer
      .then((lookups) => {
        eachResult(lookups, (at, found) => {
          if (found?.state === "leased") this.#options.leaseCameLate(order[at]!, found.lease);
        });
      })
      .catch(() => {})
      .finally(() => clearTimeout(giveUp));
  }
}

/** Lookups of one scope and kind, which either all take leases or none. */
interface Group {
  readonly message: LookupGroup;
  readonly lookups: PendingLookup[];
}

/** The groups of a request, and the lookups in the order of their results. */
function grouped(lookups: PendingLookup[]): { groups: LookupGroup[]; order: PendingLookup[] } {
  const groups: Group[] = [];
  let latest: Group | undefined;
  for (const lookup of lookups) {
    if (latest === undefined || !belongs(lookup, latest)) {
      latest = groups.find((group) => belongs(lookup, group));
      if (latest === undefined) {
        const { kind, message: scope } = lookup.scope;
        latest = { message: create(LookupGroupSchema, { kind, scope, takeLeases: lookup.takeLease }), lookups: [] };
        groups.push(latest);
      }
    }
    latest.lookups.push(lookup);
    latest.message.textHashes.push(lookup.hash);
    if (lookup.scope.sendsTexts) latest.message.texts.push(textToSend(lookup.text));
  }
  return { groups: groups.map(({ message }) => message), order: groups.flatMap((group) => group.lookups) };
}

function belongs({ scope, takeLease }: PendingLookup, { message }: Group): boolean {
  return message.scope === scope.message && message.kind === scope.kind && message.takeLeases === takeLease;
}

/** Reads the columns of a response; undefined stands for a lookup that is to be asked again. */
function eachResult(answer: Lookups, use: (at: number, found: Found | undefined) => void): void {
  const { states, values, ttlsMs, leaseTokens, leaseTtl } = answer;
  let hits = 0;
  let leases = 0;
  states.forEach((state, at) => {
    switch (state) {
      case LookupState.HIT:
      case LookupState.SIMILAR_HIT: {
        const value = values[hits];
        use(at, value === undefined ? MISS : { state: "hit", value, ttlMs: ttlsMs[hits] ?? 0, similar: state === LookupState.SIMILAR_HIT });
        hits += 1;
        break;
      }
      case LookupState.LEASED:
        use(at, {
          state: "leased",
          lease: { token: leaseTokens[leases] ?? "", ttlMs: leaseTtl === undefined ? 0 : durationMs(leaseTtl) },
        });
        leases += 1;
        break;
      case LookupState.FILLING:
        use(at, FILLING);
        break;
      case LookupState.DEFERRED:
        use(at, undefined);
        break;
      default:
        use(at, MISS);
    }
  });
}
