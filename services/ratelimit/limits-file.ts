import { parse, YAMLParseError } from "yaml";
import { z } from "zod";
import { ConfigError } from "../../runtime/config.js";
import type { BudgetLimits } from "./budgets/store.js";
import type { FailureChoice, Limit, LimitWindow } from "./limit.js";
import { type LimitChoice, Limits } from "./limits.js";
import type { QueueSettings } from "./queue/store.js";

const PERIODS_MS = { per_second: 1_000, per_minute: 60_000, per_hour: 3_600_000, per_day: 86_400_000 } as const;
const MAX_TOKENS = 1_000_000_000_000;

const tokens = z
  .int("give a whole number of tokens")
  .min(1, "give at least 1 token")
  .max(MAX_TOKENS, `give at most ${MAX_TOKENS} tokens`);

/** Windows, and what happens without a store: requests pass by default, money and model tokens are not spent. */
const windowsSchema = (onFailure: FailureChoice) =>
  z
    .strictObject(
    {
      burst: tokens.optional(),
      per_second: tokens.optional(),
      per_minute: tokens.optional(),
      per_hour: tokens.optional(),
      per_day: tokens.optional(),
      on_failure: z.enum(["open", "closed"], 'give "open" or "closed"').default(onFailure),
    },
    { error: (issue) => (issue.code === "invalid_type" ? 'give "unlimited" or windows such as {burst: 10, per_minute: 60}' : undefined) },
  )
  .refine((limit) => windowsOf(limit).length > 0, "give per_second, per_minute, per_hour or per_day")
  .transform((limit): Limit => ({ windows: windowsOf(limit), onFailure: limit.on_failure }));

const requestsSchema = windowsSchema("open");

const budgetsSchema = z
  .record(z.string().regex(/^[a-z][a-z0-9_]{0,62}$/, "name budgets by lower-case letters, digits and _"), windowsSchema("closed"))
  .transform((budgets): BudgetLimits => new Map(Object.entries(budgets)));

// Not a union: its errors would not say which field of the windows is wrong.
const limitSchema = z.unknown().transform((value, context): LimitChoice => {
  if (value === "unlimited") return value;
  const result = requestsSchema.safeParse(value);
  if (result.success) return result.data;
  context.issues.push(...result.error.issues.map(({ message, path }) => ({ code: "custom" as const, message, path, input: value })));
  return z.NEVER;
});

const whole = (least: number, most: number) => {
  const message = `give a whole number from ${least} to ${most}`;
  return z.int(message).min(least, message).max(most, message);
};

const queueSchema = z
  .strictObject({
    max_depth: whole(1, 1_000_000).default(10_000),
    max_depth_per_tenant: whole(1, 1_000_000).optional(),
    max_attempts: whole(1, 100).default(5),
    ageing_seconds: whole(1, 86_400).default(10),
  })
  .transform(
    (queue): Omit<QueueSettings, "name"> => ({
      maxDepth: queue.max_depth,
      // Half, so that no tenant alone can shut the others out.
      maxTenantDepth: queue.max_depth_per_tenant ?? Math.ceil(queue.max_depth / 2),
      maxAttempts: queue.max_attempts,
      ageingMs: queue.ageing_seconds * 1_000,
    }),
  );

const fileSchema = z.strictObject({
  tiers: z.record(z.string().min(1), limitSchema).default({}),
  budgets: z.record(z.string().min(1), budgetsSchema).default({}),
  keys: z
    .array(
      z.strictObject({
        key: z.string().min(1, "give a key, or a prefix and *"),
        tenant: z.string().min(1).optional(),
        limit: limitSchema.optional(),
        budgets: budgetsSchema.optional(),
      }),
    )
    .default([]),
  queues: z
    .record(z.string().regex(/^[a-z0-9][a-z0-9_-]{0,62}$/, "name queues by lower-case letters, digits, - and _"), queueSchema)
    .default({}),
});

/** What holds without a file: 10 at once and 60 a minute, at most 1,000 an hour; nothing for a mesh without keys. */
const DEFAULT_TIERS: Record<string, LimitChoice> = {
  default: {
    windows: [
      { periodMs: PERIODS_MS.per_minute, limit: 60, capacity: 10 },
      { periodMs: PERIODS_MS.per_hour, limit: 1_000, capacity: 1_000 },
    ],
    onFailure: "open",
  },
  local: "unlimited",
};

/** The agent service's replicas have a queue each, named "agent-runs--" and an id. */
const DEFAULT_QUEUES = { default: queueSchema.parse({}), "agent-runs": queueSchema.parse({}) };

/**
 * Reads limits from YAML; README.md describes it. Tiers that it does not name keep their defaults.
 * @throws ConfigError naming the line or every field that is wrong
 */
export function parseLimits(text: string): Limits {
  let data: unknown;
  try {
    data = parse(text, { prettyErrors: true }) ?? {};
  } catch (error) {
    if (error instanceof YAMLParseError) throw new ConfigError(`The limits are not YAML: ${error.message}`);
    throw error;
  }
  const result = fileSchema.safeParse(data);
  if (!result.success) {
    const lines = result.error.issues.map((issue) => `  ${issue.path.join(".") || "(top)"}: ${issue.message}`);
    throw new ConfigError(`The limits are wrong:\n${lines.join("\n")}`);
  }
  const { tiers, budgets, keys, queues } = result.data;
  return new Limits({ tiers: { ...DEFAULT_TIERS, ...tiers }, budgets, keys, queues: { ...DEFAULT_QUEUES, ...queues } });
}

/** The windows that a limit names. The burst bounds the shortest; a longer one holds all that it gives in its period. */
function windowsOf(limit: { burst?: number | undefined } & { [K in keyof typeof PERIODS_MS]?: number | undefined }): LimitWindow[] {
  const windows: LimitWindow[] = [];
  for (const [name, periodMs] of Object.entries(PERIODS_MS)) {
    const amount = limit[name as keyof typeof PERIODS_MS];
    if (amount === undefined) continue;
    windows.push({ periodMs, limit: amount, capacity: windows.length === 0 ? (limit.burst ?? amount) : amount });
  }
  return windows;
}
