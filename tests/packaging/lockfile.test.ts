import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { packageRoot } from "../../runtime/package-root.js";

interface LockedPackage {
  optionalDependencies?: Record<string, string>;
  os?: string[];
}

const lockfile = JSON.parse(readFileSync(new URL("../../package-lock.json", import.meta.url), "utf8")) as {
  packages: Record<string, LockedPackage>;
};

// npm leaves out the packages of platforms that its registry did not have, and `npm ci` then refuses to install anywhere.
test("the lockfile has the packages of every platform", () => {
  const missing = Object.entries(lockfile.packages).flatMap(([path, { optionalDependencies = {} }]) =>
    Object.entries(optionalDependencies)
      .filter(([name]) => !foldersAbove(path).some((folder) => `${folder}node_modules/${name}` in lockfile.packages))
      .map(([name, version]) => `${name}@${version}, wanted by ${path}`),
  );
  expect(missing).toEqual([]);
});

const audit = (...args: string[]) => (input?: string) =>
  spawnSync(process.execPath, [join(packageRoot, "scripts", "audit.mjs"), ...args], { cwd: packageRoot, encoding: "utf8", input });

test("the lockfile's production dependencies have no known vulnerability that is high or critical", ({ skip }) => {
  const { status, stdout } = audit()();
  if (status === 3) {
    console.warn(stdout.trim());
    skip(stdout.trim());
  }
  expect(stdout).toMatch(/^Audited: /m);
  expect(status, stdout).toBe(0);
});

test.each([
  { what: "a high one", severity: "high", metadata: { vulnerabilities: { high: 1 } }, status: 1, says: "high: left-pad <2" },
  { what: "a moderate one", severity: "moderate", metadata: { vulnerabilities: { moderate: 1 } }, status: 0, says: "1 moderate" },
  { what: "no answer", severity: "high", message: "405 Method Not Allowed", status: 3, says: "405 Method Not Allowed" },
])("the audit ends with $status for $what, and says why", ({ severity, metadata, message, status, says }) => {
  const report = { metadata, message, vulnerabilities: { "left-pad": { name: "left-pad", severity, range: "<2" } } };
  const judged = audit("-")(JSON.stringify(report));
  expect(judged.status).toBe(status);
  expect(judged.stdout).toContain(says);
});

/** Where Node looks for the dependencies of a package, nearest first, each ending in "/" or empty for the root. */
function foldersAbove(path: string): string[] {
  const parent = path.lastIndexOf("/node_modules/");
  return [`${path}/`, ...(parent === -1 ? [""] : foldersAbove(path.slice(0, parent)))];
}
