import { SortedList } from "./sorted-list.js";
import {
  type DeliveredItem,
  type EnqueueOutcome,
  type HeldOutcome,
  IDEMPOTENCY_MS,
  MAX_DEQUEUED,
  type NewItem,
  OVERDUE_TURN,
  type QueueCounts,
  type QueueSettings,
} from "./store.js";

interface Item {
  id: string;
  tenant: string;
  priority: number;
  payload: Uint8Array;
  enqueuedAt: number;
  /** Its place in the turns of the tenants. */
  turn: number;
  attempt: number;
  /** Until when what `state` says holds: the lease, the delay, or the time to live. */
  until: number;
  state: "waiting" | "delayed" | "in_flight";
  worker: string;
  lease: string;
}

/** The items of one priority that wait. */
class Line {
  /** By the turns of the tenants. */
  readonly byTurn = new SortedList();
  readonly byAge = new SortedList();
  /** The turn that was served last, and the last one that each tenant was given. */
  #served = 0;
  readonly #given = new Map<string, number>();

  /** A tenant's next turn: behind its last one, and not before what has been served, so that silence earns nothing. */
  nextTurn(tenant: string): number {
    const turn = Math.max(this.#served, this.#given.get(tenant) ?? 0) + 1;
    this.#given.set(tenant, turn);
    return turn;
  }

  add(item: Item): void {
    this.byTurn.add(item.id, item.turn);
    this.byAge.add(item.id, item.enqueuedAt);
  }

  remove(item: Item): void {
    this.byTurn.remove(item.id, item.turn);
    this.byAge.remove(item.id, item.enqueuedAt);
  }

  serve(item: Item): void {
    this.remove(item);
    this.#served = Math.max(this.#served, item.turn);
    if (this.#given.get(item.tenant) === item.turn) this.#given.delete(item.tenant);
  }
}

/** One queue in memory. `now` is in milliseconds and never goes back. */
export class MemoryQueue {
  readonly #items = new Map<string, Item>();
  readonly #lines = [new Line(), new Line(), new Line(), new Line()];
  /** Items by when their state ends. */
  readonly #expiring = new SortedList();
  readonly #delayed = new SortedList();
  readonly #inFlight = new SortedList();
  readonly #idempotent = new Map<string, { id: string; until: number }>();
  readonly #ofTenant = new Tally();
  readonly #ofWorker = new Tally();
  readonly #counted = { enqueued: 0, acknowledged: 0, redelivered: 0, expired: 0, dead: 0, cancelled: 0 };
  #sequence = 0;
  #sinceOverdue = 0;

  enqueue(settings: QueueSettings, item: NewItem, now: number): EnqueueOutcome {
    this.#passTime(settings, now);
    const idempotent = item.idempotencyKey === "" ? undefined : JSON.stringify([item.tenant, item.idempotencyKey]);
    const known = idempotent === undefined ? undefined : this.#idempotent.get(idempotent);
    if (known !== undefined && known.until > now) return { id: known.id };
    if (this.#items.size >= settings.maxDepth) return { full: "queue" };
    if (this.#ofTenant.of(item.tenant) >= settings.maxTenantDepth) return { full: "tenant" };
    this.#sequence += 1;
    const id = String(this.#sequence).padStart(16, "0");
    const { tenant, priority, payload, ttlMs } = item;
    const entry: Item = {
      ...{ id, tenant, priority, payload, enqueuedAt: now, turn: this.#line(priority).nextTurn(tenant) },
      ...{ attempt: 0, until: now + ttlMs, state: "waiting", worker: "", lease: "" },
    };
    this.#items.set(id, entry);
    this.#ofTenant.add(tenant, 1);
    this.#line(priority).add(entry);
    this.#expiring.add(id, entry.until);
    this.#counted.enqueued += 1;
    if (idempotent !== undefined) this.#idempotent.set(idempotent, { id, until: now + IDEMPOTENCY_MS });
    return { id };
  }

  dequeue(settings: QueueSettings, worker: string, lease: string, maxInFlight: number, leaseMs: number, now: number): DeliveredItem[] {
    this.#passTime(settings, now);
    const delivered: DeliveredItem[] = [];
    while (delivered.length < MAX_DEQUEUED && this.#ofWorker.of(worker) < maxInFlight) {
      const item = this.#next(settings, now);
      if (item === undefined) break;
      this.#line(item.priority).serve(item);
      this.#expiring.remove(item.id, item.until);
      Object.assign(item, { state: "in_flight", until: now + leaseMs, worker, lease, attempt: item.attempt + 1 });
      this.#inFlight.add(item.id, item.until);
      this.#ofWorker.add(worker, 1);
      if (item.attempt > 1) this.#counted.redelivered += 1;
      const { id, tenant, priority, payload, enqueuedAt, attempt } = item;
      delivered.push({ id, tenant, priority, payload, enqueuedAt, attempt });
    }
    return delivered;
  }

  /** Until a lease or a delay ends, in milliseconds. */
  nextMs(now: number): number | undefined {
    const ends = [this.#inFlight.first, this.#delayed.first].flatMap((first) => (first === undefined ? [] : [first.rank]));
    return ends.length === 0 ? undefined : Math.max(0, Math.min(...ends) - now);
  }

  ack(settings: QueueSettings, id: string, lease: string, now: number): HeldOutcome {
    this.#passTime(settings, now);
    const item = this.#held(id, lease);
    if (typeof item === "string") return item;
    this.#remove(item);
    this.#counted.acknowledged += 1;
    return "done";
  }

  nack(settings: QueueSettings, id: string, lease: string, delayMs: number, now: number): HeldOutcome {
    this.#passTime(settings, now);
    const item = this.#held(id, lease);
    if (typeof item === "string") return item;
    return this.#giveBack(settings, item, delayMs, now);
  }

  extend(settings: QueueSettings, id: string, lease: string, leaseMs: number, now: number): HeldOutcome {
    this.#passTime(settings, now);
    const item = this.#held(id, lease);
    if (typeof item === "string") return item;
    this.#inFlight.remove(id, item.until);
    item.until = now + leaseMs;
    this.#inFlight.add(id, item.until);
    return "done";
  }

  cancel(settings: QueueSettings, tenant: string, id: string, now: number): "waiting" | "in_flight" | "unknown" {
    this.#passTime(settings, now);
    const item = this.#items.get(id);
    if (item === undefined || item.tenant !== tenant) return "unknown";
    this.#remove(item);
    this.#counted.cancelled += 1;
    return item.state === "in_flight" ? "in_flight" : "waiting";
  }

  counts(settings: QueueSettings, now: number): QueueCounts {
    this.#passTime(settings, now);
    return {
      waiting: this.#lines.map(({ byAge }) => ({
        depth: byAge.size,
        oldestAgeMs: byAge.first === undefined ? 0 : now - byAge.first.rank,
      })),
      delayed: this.#delayed.size,
      inFlight: this.#inFlight.size,
      ...this.#counted,
    };
  }

  /** The most important line, or, in every fourth turn, the most overdue one; of it the item whose tenant's turn it is. */
  #next(settings: QueueSettings, now: number): Item | undefined {
    let first: number | undefined;
    let overdue: { index: number; since: number } | undefined;
    this.#lines.forEach(({ byAge }, index) => {
      if (byAge.first === undefined) return;
      first ??= index;
      const since = byAge.first.rank + index * settings.ageingMs;
      if (index > 0 && since <= now && since < (overdue?.since ?? Number.POSITIVE_INFINITY)) overdue = { index, since };
    });
    if (first === undefined) return undefined;
    const index = overdue !== undefined && this.#sinceOverdue >= OVERDUE_TURN - 1 ? overdue.index : first;
    this.#sinceOverdue = index === overdue?.index ? 0 : this.#sinceOverdue + 1;
    return this.#items.get(this.#lines[index]!.byTurn.first!.name);
  }

  #held(id: string, lease: string): Item | "lost" | "unknown" {
    const item = this.#items.get(id);
    if (item === undefined) return "unknown";
    return item.state === "in_flight" && item.lease === lease ? item : "lost";
  }

  #giveBack(settings: QueueSettings, item: Item, delayMs: number, now: number): "done" | "dropped" {
    if (item.attempt >= settings.maxAttempts) {
      this.#remove(item);
      this.#counted.dead += 1;
      return "dropped";
    }
    this.#leaveState(item);
    item.lease = "";
    item.worker = "";
    if (delayMs > 0) {
      Object.assign(item, { state: "delayed", until: now + delayMs });
      this.#delayed.add(item.id, item.until);
    } else {
      item.state = "waiting";
      this.#line(item.priority).add(item);
    }
    return "done";
  }

  #passTime(settings: QueueSettings, now: number): void {
    for (const id of this.#inFlight.upTo(now)) this.#giveBack(settings, this.#items.get(id)!, 0, now);
    for (const id of this.#delayed.upTo(now)) {
      const item = this.#items.get(id)!;
      this.#leaveState(item);
      item.state = "waiting";
      this.#line(item.priority).add(item);
    }
    for (const id of this.#expiring.upTo(now)) {
      this.#remove(this.#items.get(id)!);
      this.#counted.expired += 1;
    }
    // Keys are kept in the order in which they end.
    for (const [key, { until }] of this.#idempotent) {
      if (until > now) break;
      this.#idempotent.delete(key);
    }
  }

  #remove(item: Item): void {
    this.#leaveState(item);
    this.#expiring.remove(item.id, item.until);
    this.#items.delete(item.id);
    this.#ofTenant.add(item.tenant, -1);
  }

  #leaveState(item: Item): void {
    if (item.state === "waiting") this.#line(item.priority).remove(item);
    if (item.state === "delayed") this.#delayed.remove(item.id, item.until);
    if (item.state === "in_flight") {
      this.#inFlight.remove(item.id, item.until);
      this.#ofWorker.add(item.worker, -1);
    }
  }

  #line(priority: number): Line {
    return this.#lines[priority - 1]!;
  }
}

/** Counts by name; a name that is at zero is forgotten. */
class Tally {
  readonly #counts = new Map<string, number>();

  of(name: string): number {
    return this.#counts.get(name) ?? 0;
  }

  add(name: string, by: number): void {
    const count = this.of(name) + by;
    if (count === 0) this.#counts.delete(name);
    else this.#counts.set(name, count);
  }
}
