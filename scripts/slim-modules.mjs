// Deletes from a folder of installed production dependencies what Node never loads: types, source maps, documentation,
// tests and examples. Half of the bytes.
// Usage: node scripts/slim-modules.mjs node_modules
import { readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";

const UNLOADED_FILE = /\.(ts|mts|cts|map|md|mdx|markdown|html|flow|tsbuildinfo|yml)$|^(\.eslintrc.*|\.nycrc|\.editorconfig|Makefile)$/;
const UNLOADED_FOLDER = /^(test|tests|__tests__|example|examples|docs|coverage|\.github)$/;
/** Second copies, for bundlers, of tables that the package's main file holds. */
const UNLOADED_OF_PACKAGE = ["js-tiktoken/dist/ranks"];

const root = process.argv[2];
if (root === undefined) throw new Error("usage: node scripts/slim-modules.mjs node_modules");

const before = bytesOf(root);
for (const path of [...UNLOADED_OF_PACKAGE, ...otherPlatforms("onnxruntime-node/bin/napi-v6")]) rmSync(join(root, path), { recursive: true, force: true });
slim(root, 0);
process.stdout.write(`node_modules: ${megabytes(before)} before, ${megabytes(bytesOf(root))} after\n`);

/** Folders of native code for other systems than this one, in a folder with one for each system and, in it, processor. */
function otherPlatforms(folder) {
  const list = (path) => (statSync(join(root, path), { throwIfNoEntry: false }) === undefined ? [] : readdirSync(join(root, path)).map((name) => `${path}/${name}`));
  return list(folder).flatMap((system) => (system.endsWith(process.platform) ? list(system).filter((path) => !path.endsWith(process.arch)) : [system]));
}

/** A folder named "docs" directly in node_modules is a package; one inside of a package is documentation. */
function slim(folder, depth) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (!entry.isDirectory()) {
      if (UNLOADED_FILE.test(entry.name)) rmSync(path);
    } else if (depth > 1 && UNLOADED_FOLDER.test(entry.name) && !folder.endsWith("node_modules")) {
      rmSync(path, { recursive: true });
    } else {
      slim(path, depth + 1);
    }
  }
}

function bytesOf(path) {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return 0;
  return stats.isDirectory() ? readdirSync(path).reduce((sum, name) => sum + bytesOf(join(path, name)), 0) : stats.size;
}

function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
