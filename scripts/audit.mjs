// Asks the registry whether the lockfile's production dependencies have known vulnerabilities. Ends with 0 when none is high or
// critical, with 1 when one is, and with 3, saying why, when the registry cannot be asked: offline, or a mirror without this service.
// `node scripts/audit.mjs -` judges a report of `npm audit --json` from stdin instead.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

const FAILS = ["high", "critical"];
const TIMEOUT_MS = 60_000;

function ask() {
  const root = dirname(dirname(fileURLToPath(import.meta.url)));
  const args = ["audit", "--omit=dev", "--package-lock-only", "--json", "--fetch-retries=0"];
  const { stdout, error } = spawnSync("npm", args, { cwd: root, encoding: "utf8", timeout: TIMEOUT_MS, shell: process.platform === "win32" });
  if (error !== undefined) cannot(error.code === "ETIMEDOUT" ? "it does not answer" : `npm cannot be run (${error.code})`);
  return stdout;
}

function cannot(why) {
  process.stdout.write(`Not audited: the registry cannot be asked for known vulnerabilities: ${why}.\n`);
  process.exit(3);
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return cannot("npm's answer is no report");
  }
}

const report = parsed(process.argv[2] === "-" ? readFileSync(0, "utf8") : ask());
const counts = report.metadata?.vulnerabilities;
if (counts === undefined) cannot(report.message ?? report.error?.summary ?? "npm's answer is no report");
const found = Object.values(report.vulnerabilities ?? {}).filter(({ severity }) => FAILS.includes(severity));
for (const { name, severity, range } of found) process.stdout.write(`${severity}: ${name} ${range}\n`);
process.stdout.write(`Audited: ${Object.entries(counts).map(([severity, count]) => `${count} ${severity}`).join(", ")}.\n`);
process.exit(found.length > 0 ? 1 : 0);
