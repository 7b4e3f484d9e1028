import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { Bench, Figure } from "./figure.js";

const USAGE = "npm run bench -- [NAME...] [--json]";

/** The benchmarks by name, in their order in the document. */
const BENCHES: Record<string, () => Promise<{ bench: Bench }>> = {
  cache: () => import("./cache.js"),
  ratelimit: () => import("./ratelimit.js"),
  checkpoint: () => import("./checkpoint.js"),
  ingest: () => import("./ingest.js"),
  retrieval: () => import("./retrieval.js"),
  mesh: () => import("./mesh.js"),
  gateway: () => import("./gateway.js"),
  edge: () => import("./edge.js"),
  identity: () => import("./identity.js"),
};

/** Those that take many minutes each: they run when they are named. */
const LONG = new Set(["ingest", "retrieval", "mesh"]);

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
  const names = positionals.length > 0 ? positionals : Object.keys(BENCHES).filter((name) => !LONG.has(name));
  for (const name of names) {
    process.stderr.write(`${name} ...\n`);
    const { bench } = await BENCHES[name]!();
    const figures = await bench.run();
    if (values.json === true) {
      for (const figure of figures) process.stdout.write(`${JSON.stringify(inOrder(figure))}\n`);
      continue;
    }
    const section = markdown({ name, figures, versions: { ...packageVersions(bench.packages), ...bench.serverVersions?.() } });
    process.stdout.write(`${section}\n`);
    // At once: a run that is broken off keeps what it measured.
    writeSection(name, section);
  }
}

/** Puts a benchmark's section into docs/benchmarks.md, in the place of its last one. */
function writeSection(name: string, section: string): void {
  const file = join(root(), "docs", "benchmarks.md");
  const sections = new Map(
    (existsSync(file) ? readFileSync(file, "utf8") : "")
      .split(/^(?=## )/m)
      .slice(1)
      .map((text) => [/^## (.*)/.exec(text)![1]!, text.trimEnd()]),
  );
  sections.set(name, section.trimEnd());
  const ordered = Object.keys(BENCHES).flatMap((known) => sections.get(known) ?? []);
  writeFileSync(file, `${[INTRODUCTION, ...ordered].join("\n\n")}\n`);
}

const INTRODUCTION = `# Benchmarks

Made by \`npm run bench\`, which runs the short ones, and \`npm run bench -- NAME\`: each figure compares us with a peer that did the
same work in the same run, in turns, warm, medians of at least three repetitions. Trust the ratios: the absolute figures are those
of the machine.

For a mesh or a cluster of your own: [bench/load](../bench/load) has the same users for k6 and Locust.`;

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
    [`${new Date().toISOString().slice(0, 10)}, ${machine()}`, ...Object.entries(versions).map(([what, version]) => `${what} ${version}`)].join(", "),
    "",
  ].join("\n");
}

function machine(): string {
  return `${cpus().length} cores (${cpus()[0]?.model.trim() ?? "unknown"}), Node ${process.versions.node}, ${process.platform}`;
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
