import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

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

/** Where Node looks for the dependencies of a package, nearest first, each ending in "/" or empty for the root. */
function foldersAbove(path: string): string[] {
  const parent = path.lastIndexOf("/node_modules/");
  return [`${path}/`, ...(parent === -1 ? [""] : foldersAbove(path.slice(0, parent)))];
}
