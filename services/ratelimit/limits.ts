import { type Identity, LOCAL_TENANT } from "../../runtime/call-context.js";
import type { BudgetLimits } from "./budgets/store.js";
import type { Limit } from "./limit.js";
import type { QueueSettings } from "./queue/store.js";

export type LimitChoice = Limit | "unlimited";

/** What holds for one key, or for all that start with a prefix ending in "*"; of one tenant, or of all. */
export interface KeyRule {
  readonly key: string;
  readonly tenant?: string | undefined;
  readonly limit?: LimitChoice | undefined;
  readonly budgets?: BudgetLimits | undefined;
}

export interface LimitsContent {
  /** By tier; "default" must be one of them. */
  tiers: Readonly<Record<string, LimitChoice>>;
  /** By tier; a tier without has the budgets of none. */
  budgets?: Readonly<Record<string, BudgetLimits>>;
  keys?: readonly KeyRule[];
  /** By name. */
  queues?: Readonly<Record<string, Omit<QueueSettings, "name">>>;
}

/** Budgets that callers may name whether somebody has configured them or not. */
const WELL_KNOWN_BUDGETS = ["llm_tokens", "cost_microusd"];
const NO_BUDGETS: BudgetLimits = new Map();

/** Divides a queue's name from that of one of its instances. */
const INSTANCE = "--";

/** Which limits and budgets hold for whom, and which queues there are. */
export class Limits {
  /** Names of all budgets that may be asked for. */
  readonly budgetNames: ReadonlySet<string>;
  /** All queues that there are, by name. */
  readonly queues: ReadonlyMap<string, QueueSettings>;
  readonly #tiers: ReadonlyMap<string, LimitChoice>;
  readonly #budgets: ReadonlyMap<string, BudgetLimits>;
  readonly #exact = new Map<string, KeyRule[]>();
  readonly #prefixes: { prefix: string; rule: KeyRule }[] = [];

  constructor({ tiers, budgets = {}, keys = [], queues = {} }: LimitsContent) {
    this.queues = new Map(Object.entries(queues).map(([name, settings]) => [name, { name, ...settings }]));
    this.#tiers = new Map(Object.entries(tiers));
    if (!this.#tiers.has("default")) throw new Error('there is no tier "default"');
    this.#budgets = new Map(Object.entries(budgets));
    for (const rule of keys) {
      if (rule.key.endsWith("*")) this.#prefixes.push({ prefix: rule.key.slice(0, -1), rule });
      else this.#exact.set(rule.key, [...(this.#exact.get(rule.key) ?? []), rule]);
    }
    const configured = [...Object.values(budgets), ...keys.map((rule) => rule.budgets ?? NO_BUDGETS)];
    this.budgetNames = new Set([...WELL_KNOWN_BUDGETS, ...configured.flatMap((limits) => [...limits.keys()])]);
  }

  /** The queue of a name; one named after a queue, "--" and anything has that one's settings. */
  queue(name: string): QueueSettings | undefined {
    const kind = this.queues.get(name) ?? this.queues.get(name.split(INSTANCE, 1)[0] ?? "");
    return kind && { ...kind, name };
  }

  /** The first rule for exactly this key, else the first whose prefix it has, else the limit of the caller's tier. */
  of(identity: Identity, key: string): LimitChoice {
    const rule = this.#ruleOf(identity, key, ({ limit }) => limit !== undefined);
    return rule?.limit ?? this.#tiers.get(tierOf(identity)) ?? this.#tiers.get("default")!;
  }

  /** The budgets of a key, found in the same way. */
  budgetsOf(identity: Identity, key: string): BudgetLimits {
    const rule = this.#ruleOf(identity, key, ({ budgets }) => budgets !== undefined);
    return rule?.budgets ?? this.#budgets.get(tierOf(identity)) ?? NO_BUDGETS;
  }

  #ruleOf(identity: Identity, key: string, says: (rule: KeyRule) => boolean): KeyRule | undefined {
    const concerns = (rule: KeyRule) => says(rule) && (rule.tenant === undefined || rule.tenant === identity.tenant);
    return (
      this.#exact.get(key)?.find(concerns) ??
      this.#prefixes.find(({ prefix, rule }) => key.startsWith(prefix) && concerns(rule))?.rule
    );
  }
}

/** The tier of a caller whose identity names none: "local" while no keys are configured, else "default". */
function tierOf(identity: Identity): string {
  return identity.tier ?? (identity.tenant === LOCAL_TENANT ? "local" : "default");
}
