import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { packageRoot } from "../../runtime/package-root.js";
import { prometheusFound, promtool } from "../servers/prometheus.js";

const folder = join(packageRoot, "k8s", "components", "monitoring");
const read = (...path: string[]) => readFileSync(join(...path), "utf8");

interface Rule {
  alert?: string;
  record?: string;
  expr: string;
  labels?: { severity: string };
  annotations?: { summary: string; runbook: string };
}
const rules = (parse(read(folder, "rules.yaml"), { merge: true }) as { groups: { rules: Rule[] }[] }).groups.flatMap((group) => group.rules);
const alerts = rules.filter((rule) => rule.alert !== undefined);

describe.skipIf(!(await prometheusFound()))("the rules, by promtool", () => {
  test.each([["check", "rules.yaml"], ["test", "rules.test.yaml"]])("%s rules %s", async (command, file) => {
    const { stdout } = await promisify(execFile)(await promtool(), [command, "rules", file], { cwd: folder });
    expect(stdout).toContain("SUCCESS");
  });
});

test.each(alerts)("$alert fires in one case, is silent in one, and has a runbook", ({ alert, labels, annotations }) => {
  const cases = (parse(read(folder, "rules.test.yaml")) as { tests: { name: string; promql_expr_test: { expr: string; exp_samples: [] }[] }[] }).tests;
  for (const [verb, samples] of [["fires", 1], ["is silent", 0]] as const) {
    const found = cases.filter(({ name }) => name.startsWith(`${alert} ${verb}: `));
    expect(found, verb).toHaveLength(1);
    expect(found[0]!.promql_expr_test[0]!.expr).toContain(`alertname="${alert}"`);
    expect(found[0]!.promql_expr_test[0]!.exp_samples).toHaveLength(samples);
  }
  expect(["page", "ticket"]).toContain(labels?.severity);
  expect(annotations?.runbook).toBe(`docs/runbooks.md#${alert!.toLowerCase()}`);
  expect(read(packageRoot, "docs", "runbooks.md")).toContain(`\n## ${alert}\n`);
});

test("rules are about metrics that there are", () => {
  const ours = [...read(packageRoot, "docs", "metrics.md").matchAll(/^\| `(\w+)` /gm)].map(([, name]) => name!);
  const others = /^(kube_|nodejs_eventloop_lag_p99_seconds$|envoy_server_days_until_first_cert_expiring$|certmanager_certificate_)/;
  const recorded = rules.flatMap(({ record }) => record ?? []);
  for (const { expr, alert, record } of rules) {
    const bare = expr.replace(/\{[^}]*\}|"[^"]*"|\[[^\]]*\]|\b(by|on|unless|without) \([^)]*\)/g, "");
    for (const [name] of bare.matchAll(/[a-z][\w:]*_[\w:]*/g)) {
      if (["histogram_quantile"].includes(name)) continue;
      const known = others.test(name) || recorded.includes(name) || ours.includes(name) || ours.includes(name.replace(/_bucket$/, ""));
      expect(known, `${alert ?? record}: ${name}`).toBe(true);
    }
  }
});
