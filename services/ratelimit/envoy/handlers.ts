import { createHash } from "node:crypto";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import type { RateLimitDescriptor } from "../../../gen/envoy/extensions/common/ratelimit/v3/ratelimit_pb.js";
import {
  type RateLimitResponse_DescriptorStatus,
  RateLimitResponse_Code as Code,
  RateLimitResponse_DescriptorStatusSchema,
  RateLimitResponse_RateLimit_Unit as ResponseUnit,
  type RateLimitService,
} from "../../../gen/envoy/service/ratelimit/v3/rls_pb.js";
import { RateLimitUnit } from "../../../gen/envoy/type/v3/ratelimit_unit_pb.js";
import { currentTenant } from "../../../runtime/call-context.js";
import { invalidField } from "../../../runtime/errors.js";
import { type BucketOp, EPSILON } from "../bucket.js";
import { storeUnavailable } from "../limit-errors.js";
import { bucketKey, type BucketStore, StoreUnavailableError } from "../store.js";
import { type Domains, type Rule, type RuleLimit, ruleLimit, ruleOf, type Unit, UNITS_MS } from "./rules.js";

const UNIT_NUMBERS: Record<Unit, ResponseUnit> = {
  second: ResponseUnit.SECOND,
  minute: ResponseUnit.MINUTE,
  hour: ResponseUnit.HOUR,
  day: ResponseUnit.DAY,
  month: ResponseUnit.MONTH,
  year: ResponseUnit.YEAR,
};
const OVERRIDE_UNITS: Partial<Record<RateLimitUnit, Unit>> = {
  [RateLimitUnit.SECOND]: "second",
  [RateLimitUnit.MINUTE]: "minute",
  [RateLimitUnit.HOUR]: "hour",
  [RateLimitUnit.DAY]: "day",
  [RateLimitUnit.MONTH]: "month",
  [RateLimitUnit.YEAR]: "year",
};
const UNLIMITED_REMAINING = 0xffff_ffff;
const MAX_DESCRIPTORS = 100;

/** A descriptor's status, and what the response's headers need of it. */
interface Decided {
  status: RateLimitResponse_DescriptorStatus;
  limited?: { requests: number; seconds: number };
}

/**
 * Envoy's rate limit service, version 3. Each descriptor that a rule limits has a bucket of its own, whose burst is what the
 * rule gives in a unit. When the store does not answer the call is UNAVAILABLE: failing open or closed is Envoy's setting.
 */
export function envoyHandlers(options: { store: BucketStore; domains: () => Domains }): ServiceImpl<typeof RateLimitService> {
  const { store } = options;

  async function decide(domain: string, descriptor: RateLimitDescriptor, rule: Rule | undefined, hits: number): Promise<Decided> {
    if (rule === undefined) return { status: statusOf({ code: Code.OK }) };
    if (rule.limit === "unlimited") return { status: statusOf({ code: Code.OK, limitRemaining: UNLIMITED_REMAINING }) };
    const { requests, unit, bucket } = rule.limit;
    const currentLimit = { requestsPerUnit: requests, unit: UNIT_NUMBERS[unit], name: rule.name };
    const over = rule.shadow ? Code.OK : Code.OVER_LIMIT;
    const limited = { requests, seconds: UNITS_MS[unit] / 1_000 };
    if (requests === 0) {
      return { limited, status: statusOf({ code: over, currentLimit, durationUntilReset: durationFromMs(UNITS_MS[unit]) }) };
    }
    const key = bucketKey(currentTenant(), keyOf(domain, descriptor));
    // Hits that Envoy gives back refuse nothing.
    if (descriptor.isNegativeHits) {
      const { levels } = await store.decide(key, bucket, { kind: "refund", cost: Math.min(hits, requests) });
      return { limited, status: statusOf({ code: Code.OK, currentLimit, ...restOf(rule.limit, levels[0]!) }) };
    }
    // More than a bucket ever holds is refused like what it does not hold now.
    const op: BucketOp =
      hits > requests ? { kind: "peek", cost: requests } : hits === 0 ? { kind: "peek", cost: 1 } : { kind: "take", cost: hits };
    let outcome = await store.decide(key, bucket, op);
    const refused = hits > requests || outcome.verdict !== "allowed";
    if (refused && hits > 0 && rule.spent) {
      const left = requests - outcome.levels[0]!;
      if (left > 0) outcome = { ...(await store.decide(key, bucket, { kind: "take", cost: left })), waitMs: outcome.waitMs };
    }
    const rest = restOf(rule.limit, outcome.levels[0]!);
    if (!refused) return { limited, status: statusOf({ code: Code.OK, currentLimit, ...rest }) };
    const waitMs = Math.max(outcome.waitMs, hits > requests ? UNITS_MS[unit] : 0);
    return { limited, status: statusOf({ code: over, currentLimit, ...rest, durationUntilReset: durationFromMs(Math.ceil(waitMs)) }) };
  }

  return {
    async shouldRateLimit({ domain, descriptors, hitsAddend }) {
      if (domain === "") throw invalidField("domain", "must not be empty");
      if (descriptors.length === 0) throw invalidField("descriptors", "give at least one");
      if (descriptors.length > MAX_DESCRIPTORS) throw invalidField("descriptors", `give at most ${MAX_DESCRIPTORS}`);
      const rules = applicableRules(options.domains(), domain, descriptors);
      const decided = await inStore(
        Promise.all(descriptors.map((descriptor, i) => decide(domain, descriptor, rules[i], hitsOf(descriptor, hitsAddend)))),
      );
      const statuses = decided.map(({ status }) => status);
      const over = statuses.some(({ code }) => code === Code.OVER_LIMIT);
      return {
        overallCode: over ? Code.OVER_LIMIT : Code.OK,
        statuses,
        responseHeadersToAdd: rateLimitHeaders(decided, over),
      };
    },
  };
}

/** What is left of a bucket at a level, and when it is full again. */
function restOf({ requests, unit }: RuleLimit, level: number) {
  return {
    limitRemaining: Math.max(0, Math.floor(requests - level + EPSILON)),
    durationUntilReset: durationFromMs(Math.ceil((level * UNITS_MS[unit]) / requests)),
  };
}

/** A descriptor's own number of hits goes before the request's; 0 there only asks whether there is one left. */
function hitsOf(descriptor: RateLimitDescriptor, ofRequest: number): number {
  return descriptor.hitsAddend === undefined ? ofRequest || 1 : Number(descriptor.hitsAddend);
}

/** The rule for each descriptor, without those that another descriptor's rule replaces. */
function applicableRules(domains: Domains, domain: string, descriptors: readonly RateLimitDescriptor[]): (Rule | undefined)[] {
  const tree = domains.get(domain);
  const rules = descriptors.map((descriptor) => overridden(descriptor) ?? (tree && ruleOf(tree, descriptor)));
  const replaced = new Set(rules.flatMap((rule) => rule?.replaces ?? []));
  return rules.map((rule) => (rule !== undefined && replaced.has(rule.name) ? undefined : rule));
}

/** The limit that the descriptor itself brings in place of a configured one. */
function overridden({ limit }: RateLimitDescriptor): Rule | undefined {
  const unit = limit === undefined ? undefined : OVERRIDE_UNITS[limit.unit];
  if (limit === undefined || unit === undefined) return undefined;
  return { limit: ruleLimit(limit.requestsPerUnit, unit), name: "override", replaces: [], shadow: false, spent: false };
}

/** A bucket's key: hashed, for descriptors hold whatever clients send. */
function keyOf(domain: string, { entries }: RateLimitDescriptor): string {
  const parts = JSON.stringify([domain, ...entries.map(({ key, value }) => [key, value])]);
  return `envoy/${createHash("sha256").update(parts).digest("base64url")}`;
}

/** RateLimit-Limit, -Remaining and -Reset (draft 3 of the IETF's RateLimit headers) of the descriptor that has the least left. */
function rateLimitHeaders(decided: readonly Decided[], over: boolean) {
  const limited = decided.filter((one) => one.limited !== undefined);
  limited.sort((a, b) => a.status.limitRemaining - b.status.limitRemaining);
  // Of those that refuse, whoever they are, the longest wait counts.
  const [tightest] = over ? limited.filter(({ status }) => status.code === Code.OVER_LIMIT).sort((a, b) => resetOf(b) - resetOf(a)) : limited;
  if (tightest?.limited === undefined) return [];
  const { requests, seconds } = tightest.limited;
  return [
    { key: "ratelimit-limit", value: `${requests}, ${requests};w=${seconds}` },
    { key: "ratelimit-remaining", value: String(tightest.status.limitRemaining) },
    { key: "ratelimit-reset", value: String(resetOf(tightest)) },
    ...(over ? [{ key: "retry-after", value: String(resetOf(tightest)) }] : []),
  ];
}

/** Whole seconds, rounded up. */
function resetOf({ status }: Decided): number {
  const { seconds = 0n, nanos = 0 } = status.durationUntilReset ?? {};
  return Number(seconds) + (nanos > 0 ? 1 : 0);
}

function statusOf(status: MessageInitShape<typeof RateLimitResponse_DescriptorStatusSchema>): RateLimitResponse_DescriptorStatus {
  return create(RateLimitResponse_DescriptorStatusSchema, status);
}

async function inStore<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw error instanceof StoreUnavailableError ? storeUnavailable(error) : error;
  }
}
