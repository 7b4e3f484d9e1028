import type { RateLimitDescriptor } from "../../../gen/envoy/extensions/common/ratelimit/v3/ratelimit_pb.js";
import type { Limit } from "../limit.js";

/** The units of Envoy's service, in milliseconds; a month has 30 days, a year 365, as in the reference service. */
export const UNITS_MS = {
  second: 1_000,
  minute: 60_000,
  hour: 3_600_000,
  day: 86_400_000,
  month: 30 * 86_400_000,
  year: 365 * 86_400_000,
} as const;
export type Unit = keyof typeof UNITS_MS;

/** What a rule gives in a unit, and the bucket for that; its burst is all that the unit gives. */
export interface RuleLimit {
  readonly requests: number;
  readonly unit: Unit;
  readonly bucket: Limit;
}

/** The store's failure is Envoy's to judge, and lost buckets are full again. */
export function ruleLimit(requests: number, unit: Unit): RuleLimit {
  return { requests, unit, bucket: { windows: [{ periodMs: UNITS_MS[unit], limit: requests, capacity: requests }], onFailure: "open" } };
}

/** What holds for descriptors that end at a node of the configuration's tree. */
export interface Rule {
  readonly limit: RuleLimit | "unlimited";
  /** Shown to Envoy, and by which other rules replace this one. */
  readonly name: string;
  /** Names of rules that do not hold for a request for which this one does. */
  readonly replaces: readonly string[];
  /** Counted, but never refused. */
  readonly shadow: boolean;
  /** Counts what was done already, as Envoy's apply_on_stream_done does: hits that are not there take all that is. */
  readonly spent: boolean;
}

/** A node of the configuration's tree: what follows one entry of a descriptor. */
export interface RuleNode {
  readonly rule?: Rule | undefined;
  /** By the next entry's key: nodes for values, for prefixes ending in "*", and for any value. */
  readonly children: ReadonlyMap<string, RuleChoices>;
}

export interface RuleChoices {
  readonly exact: ReadonlyMap<string, RuleNode>;
  readonly prefixes: readonly { prefix: string; node: RuleNode }[];
  readonly any: RuleNode | undefined;
}

/** The rules of all domains. */
export type Domains = ReadonlyMap<string, RuleNode>;

/**
 * The rule for a descriptor: that of the node where its last entry ends. A value is preferred to a prefix, and a prefix to
 * any value, at each entry without looking ahead. Undefined when the descriptor is not limited.
 */
export function ruleOf(domain: RuleNode, { entries }: Pick<RateLimitDescriptor, "entries">): Rule | undefined {
  let node: RuleNode | undefined = domain;
  for (const { key, value } of entries) {
    const choices: RuleChoices | undefined = node.children.get(key);
    node =
      choices?.exact.get(value) ?? choices?.prefixes.find(({ prefix }) => value.startsWith(prefix))?.node ?? choices?.any;
    if (node === undefined) return undefined;
  }
  return node.rule;
}
