import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findProgram, installDebianPackage, skipSuites } from "./find-program.js";
import { freePort } from "./free-port.js";
import { endServerProcess, startServerProcess, untilReady } from "./server-process.js";

/** A Prometheus for tests, on loopback. */
export interface PrometheusServer {
  /** The series of an instant query now. Rejects with Prometheus' words when the query is wrong. */
  query(expression: string): Promise<{ metric: Record<string, string>; value: [number, string] }[]>;
  stop(): Promise<void>;
}

const REMEDY = "install prometheus, which brings promtool.";
const programs = new Map<string, Promise<string | undefined>>();

function find(name: "prometheus" | "promtool"): Promise<string | undefined> {
  const finding =
    programs.get(name) ??
    (async () => (await findProgram(name)) ?? ((await installDebianPackage("prometheus")) ? findProgram(name) : undefined))();
  programs.set(name, finding);
  return finding;
}

/** Whether Prometheus and promtool are here; says how to make it so when not. */
export async function prometheusFound(): Promise<boolean> {
  return ((await find("prometheus")) !== undefined && (await find("promtool")) !== undefined) || skipSuites("Prometheus", REMEDY);
}

/** The path of promtool; there when prometheusFound(). */
export async function promtool(): Promise<string> {
  return (await find("promtool"))!;
}

/** Starts a Prometheus that scrapes targets every second, each with labels of its own, and evaluates files of rules as often. */
export async function startPrometheus(options: {
  targets: { address: string; labels: Record<string, string> }[];
  ruleFiles?: string[];
}): Promise<PrometheusServer> {
  const folder = await mkdtemp(join(tmpdir(), "ragents-prometheus-"));
  const port = await freePort();
  const config = {
    global: { scrape_interval: "1s", scrape_timeout: "1s", evaluation_interval: "1s" },
    rule_files: options.ruleFiles ?? [],
    scrape_configs: [{ job_name: "pods", static_configs: options.targets.map(({ address, labels }) => ({ targets: [address], labels })) }],
  };
  // JSON is YAML.
  await writeFile(join(folder, "prometheus.yml"), JSON.stringify(config));
  const args = ["--config.file=prometheus.yml", "--storage.tsdb.path=data", `--web.listen-address=127.0.0.1:${port}`, "--log.level=warn"];
  const server = startServerProcess((await find("prometheus"))!, args, { cwd: folder });
  const url = `http://127.0.0.1:${port}`;
  await untilReady(server, async () => (await fetch(`${url}/-/ready`)).ok);
  return {
    async query(expression) {
      const response = await fetch(`${url}/api/v1/query`, { method: "POST", body: new URLSearchParams({ query: expression }) });
      const answer = (await response.json()) as { status: string; error?: string; data?: { result: [] } };
      if (answer.status !== "success") throw new Error(`${answer.error}: ${expression}`);
      return answer.data!.result;
    },
    async stop() {
      await endServerProcess(server);
      await rm(folder, { recursive: true, force: true });
    },
  };
}
