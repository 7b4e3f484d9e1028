import type { Query } from "./dashboard.js";

/** The namespace that the dashboard shows. */
export const NS = 'namespace="$namespace"';
export const RATE = "[$__rate_interval]";

export const one = (expr: string, legend: string): Query[] => [{ expr, legend }];

/** A counter's rate by some of its labels. */
export const rate = (metric: string, by: string, filter = ""): Query[] => one(`sum by (${by}) (rate(${metric}{${NS}${filter}}${RATE}))`, legendOf(by));

/** The median and the 95th percentile of a histogram. */
export const quantiles = (metric: string, by: string, filter = ""): Query[] =>
  [0.5, 0.95].map((q) => ({
    expr: `histogram_quantile(${q}, sum by (le, ${by}) (rate(${metric}_bucket{${NS}${filter}}${RATE})))`,
    legend: `${legendOf(by)} p${q * 100}`,
  }));

function legendOf(by: string): string {
  return by.split(", ").map((label) => `{{${label}}}`).join(" ");
}
