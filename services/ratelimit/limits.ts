import { type Identity, LOCAL_TENANT } from "../../runtime/call-context.js";
import type { Limit } from "./limit.js";

export type LimitChoice = Limit | "unlimited";

/** A limit for one key, or for all that start with a prefix ending in "*"; of one tenant, or of all. */
export interface KeyLimit {
  readonly key: string;
  readonly tenant?: string | undefined;
  readonly limit: LimitChoice;
}

/** Which limit holds for whom. */
export class Limits {
  readonly #tiers: ReadonlyMap<string, LimitChoice>;
  readonly #exact = new Map<string, KeyLimit[]>();
  readonly #prefixes: { prefix: string; rule: KeyLimit }[] = [];

  /** @param tiers by name; "default" must be one of them */
  constructor(tiers: Record<string, LimitChoice>, keys: readonly KeyLimit[]) {
    this.#tiers = new Map(Object.entries(tiers));
    if (!this.#tiers.has("default")) throw new Error('there is no tier "default"');
    for (const rule of keys) {
      if (rule.key.endsWith("*")) this.#prefixes.push({ prefix: rule.key.slice(0, -1), rule });
      else this.#exact.set(rule.key, [...(this.#exact.get(rule.key) ?? []), rule]);
    }
  }

  /** The first rule for exactly this key, else the first whose prefix it has, else the limit of the caller's tier. */
  of(identity: Identity, key: string): LimitChoice {
    const concerns = (rule: KeyLimit) => rule.tenant === undefined || rule.tenant === identity.tenant;
    const exact = this.#exact.get(key)?.find(concerns);
    if (exact !== undefined) return exact.limit;
    const prefixed = this.#prefixes.find(({ prefix, rule }) => key.startsWith(prefix) && concerns(rule));
    if (prefixed !== undefined) return prefixed.rule.limit;
    return this.#tiers.get(tierOf(identity)) ?? this.#tiers.get("default")!;
  }
}

/** The tier of a caller whose identity names none: "local" while no keys are configured, else "default". */
function tierOf(identity: Identity): string {
  return identity.tier ?? (identity.tenant === LOCAL_TENANT ? "local" : "default");
}
