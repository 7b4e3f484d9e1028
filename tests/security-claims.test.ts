import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { packageRoot } from "../runtime/package-root.js";

const docs = join(packageRoot, "docs");
const tables = readFileSync(join(docs, "security.md"), "utf8").split("\n## ").filter((section) => section.includes("| claim | test |"));
const claims = tables.flatMap((section) => {
  const rows = section.split("\n").filter((line) => line.startsWith("| ") && !line.startsWith("| claim"));
  return rows.map((row) => {
    const [, claim, path, name] = /^\| (.+?) \| \[[^\]]+\]\(([^)]+)\): (.+) \|$/.exec(row) ?? [];
    return { claim: claim ?? row, path, name };
  });
});

test("there are claims of every kind", () => {
  expect(tables.length).toBeGreaterThanOrEqual(5);
  expect(claims.length).toBeGreaterThan(30);
});

test.each(claims)("a test shows: $claim", ({ path, name }) => {
  const file = resolve(docs, path ?? "(no test is named)");
  expect(existsSync(file), file).toBe(true);
  // As the name of a test or describe of that file, in quotes.
  const quoted = ['"', "`"].map((quote) => `(${quote}${name}${quote}`);
  const text = readFileSync(file, "utf8");
  expect(quoted.some((one) => text.includes(one)), `${path} has no test "${name}"`).toBe(true);
});
