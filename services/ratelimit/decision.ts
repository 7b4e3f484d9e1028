import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { type Decision, DecisionSchema, type QuotaShare, QuotaShareSchema, type Window, WindowSchema } from "../../gen/ragents/ratelimit/v1/ratelimit_pb.js";
import { type BucketOutcome, EPSILON } from "./bucket.js";
import type { Limit, LimitWindow } from "./limit.js";

/** An outcome as callers see it: whole tokens, whole milliseconds, never too early. */
export function toDecision(limit: Limit, outcome: BucketOutcome): Decision {
  const windows = limit.windows.map((window, i) => toWindow(window, outcome.levels[i] ?? 0));
  return create(DecisionSchema, {
    allowed: outcome.verdict === "allowed",
    wait: durationFromMs(Math.ceil(outcome.waitMs)),
    remaining: windows.map((window) => window.remaining).reduce((least, remaining) => (remaining < least ? remaining : least)),
    windows,
    failClosed: limit.onFailure === "closed",
  });
}

/** A share as callers see it. */
export function toShare(limit: Limit, outcome: BucketOutcome): QuotaShare {
  const left = Math.min(...limit.windows.map((window, i) => window.capacity - (outcome.levels[i] ?? 0)));
  return create(QuotaShareSchema, {
    granted: outcome.granted,
    remaining: BigInt(wholeTokens(left)),
    failClosed: limit.onFailure === "closed",
    ...(outcome.verdict !== "allowed" && { wait: durationFromMs(Math.ceil(outcome.waitMs)) }),
  });
}

function wholeTokens(tokens: number): number {
  return Math.max(0, Math.floor(tokens + EPSILON));
}

/** A window of which `level` tokens are out. */
export function toWindow(window: LimitWindow, level: number): Window {
  return create(WindowSchema, {
    period: durationFromMs(window.periodMs),
    limit: BigInt(window.limit),
    capacity: BigInt(window.capacity),
    remaining: BigInt(wholeTokens(window.capacity - level)),
    fullIn: durationFromMs(Math.ceil((level * window.periodMs) / window.limit)),
  });
}

/** The decision where no limit applies. */
export function unlimitedDecision(): Decision {
  return create(DecisionSchema, { allowed: true, unlimited: true, wait: durationFromMs(0) });
}

/** The decision of a fail-open limit whose state cannot be read. */
export function degradedDecision(): Decision {
  return create(DecisionSchema, { allowed: true, degraded: true, wait: durationFromMs(0) });
}
