import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { Bench, Figure } from "./figure.js";

const USAGE = "npm run bench -- [NAME...] [--json]";

/** The benchmarks by name, in the order in which all of them run. */
const BENCHES: Record<string, () => Promise<{ bench: Bench }>> = {
  cache: () => import("./cache.js"),
  ratelimit: () => import("./ratelimit.js"),
  checkpoint: () => import("./checkpoint.js"),
  ingest: () => import("./ingest.js"),
  retrieval: () => import("./retrieval.js"),
  mesh: () => import("./mesh.js"),
  gateway: () => import("./gateway.js"),
  identity: () => import("./identity.js"),
};

interface Result {
  name: string;
  figures: Figure[];
  versions: Record<string, string>;
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({ options: { json: { type: "boolean" } }, allowPositionals: true });
  const unknown = positionals.filter((name) => !(name in BENCHES));
  if (unknown.length > 0) {
    process.stderr.write(`No benchmark is called ${unknown.join(" or ")}; there are ${Object.keys(BENCHES).join(", ")}. ${USAGE}\n`);
    process.exit(1);
  }
  const names = positionals.length > 0 ? positionals : Object.keys(BENCHES);
  const results: Result[] = [];
  for (const name of names) {
    process.stderr.write(`${name} ...\n`);
    const { bench } = await BENCHES[name]!();
    const figures = await bench.run();
    results.push({ name, figures, versions: { ...packageVersions(bench.packages), ...bench.serverVersions?.() } });
    if (values.json === true) for (const figure of figures) process.stdout.write(`${JSON.stringify(inOrder(figure))}\n`);
  }
  if (values.json !== true) process.stdout.write(results.map(markdown).join("\n"));
  if (positionals.length === 0) writeFileSync(join(root(), "docs", "benchmarks.md"), document(results));
}

/** The keys of a JSON line, always these and in this order. */
function inOrder({ name, ours, peer, ratio, unit, aim }: Figure): Figure {
  return { name, ours: rounded(ours), peer: rounded(peer), ratio: rounded(ratio), unit, aim };
}

function meets({ ratio, aim, atMost }: Figure): boolean {
  return atMost === true ? ratio <= aim : ratio >= aim;
}

function markdown({ name, figures, versions }: Result): string {
  const rows = figures.map((one) => {
    const { ours, peer, ratio, unit, aim } = inOrder(one);
    const met = meets(one) ? "yes" : "no";
    const bound = one.atMost === true ? "at most " : "";
    return `| ${one.name} | ${ours.toLocaleString("en")} | ${peer.toLocaleString("en")} | ${unit} | ${ratio}x | ${bound}${aim}x | ${met} |`;
  });
  return [
    `## ${name}`,
    "",
    "| figure | ours | peer | unit | ratio | aim | met |",
    "|---|---:|---:|---|---:|---:|---|",
    ...rows,
    "",
    ...figures.flatMap((one) => (meets(one) || one.missed === undefined ? [] : [`Missed, ${one.name}: ${one.missed}`, ""])),
    Object.entries(versions)
      .map(([what, version]) => `${what} ${version}`)
      .join(", "),
    "",
  ].join("\n");
}

function document(results: Result[]): string {
  const machine = `${cpus().length} cores (${cpus()[0]?.model.trim() ?? "unknown"}), Node ${process.versions.node}, ${process.platform}`;
  return [
    "# Benchmarks",
    "",
    "Made by `npm run bench`: each figure compares us with a peer that did the same work in the same run, in turns, warm, medians",
    "of at least three repetitions. Trust the ratios: the absolute figures are this machine's.",
    "",
    `Machine: ${machine}. Date: ${new Date().toISOString().slice(0, 10)}.`,
    "",
    ...results.map(markdown),
  ].join("\n");
}

function packageVersions(names: string[]): Record<string, string> {
  const require = createRequire(import.meta.url);
  return Object.fromEntries(
    names.map((name) => {
      for (const folder of require.resolve.paths(name) ?? []) {
        try {
          const { version } = JSON.parse(readFileSync(join(folder, name, "package.json"), "utf8")) as { version: string };
          return [name, version];
        } catch {
          // Not in this folder.
        }
      }
      return [name, "not found"];
    }),
  );
}

/** Four significant digits: more would be noise. */
function rounded(value: number): number {
  return value >= 1000 ? Math.round(value) : Number(value.toPrecision(4));
}

function root(): string {
  return join(dirname(fileURLToPath(import.meta.url)), "..");
}

await main();
process.exit(0);
