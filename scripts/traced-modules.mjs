// Copies from node_modules what the compiled program loads: a fifth of the bytes that its packages have.
// Usage: node scripts/traced-modules.mjs dist FOLDER [PACKAGE...]
// Every import and require is followed from every file of dist; the packages named are copied whole, and without other
// systems' native code.
import { cpSync, existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { nodeFileTrace } from "@vercel/nft";

/** What agents and tools from users' own files import: traced from every file, whether we load it or not. */
const FOR_USERS_FILES = ["@langchain/core", "@langchain/langgraph", "zod"];
/** What is read, not imported. */
const READ = ["swagger-ui-dist/package.json", "swagger-ui-dist/swagger-ui-bundle.js", "swagger-ui-dist/swagger-ui.css", "swagger-ui-dist/favicon-32x32.png"];
const MODULE = /\.[cm]?js$/;
const NEVER_READ = /\.(ts|mts|cts|map|md|tsbuildinfo)$/;

const [dist, target, ...whole] = process.argv.slice(2);
if (target === undefined) throw new Error("usage: node scripts/traced-modules.mjs dist FOLDER [PACKAGE...]");

const modules = [dist, ...FOR_USERS_FILES.map((name) => join("node_modules", name))].flatMap(filesOf).filter((path) => MODULE.test(path));
const { fileList } = await nodeFileTrace(modules, {
  ignore: ["node_modules/onnxruntime-node/**"],
  // Builds may open 1,024 files at the same time.
  fileIOConcurrency: 256,
});
const traced = [...fileList].filter((path) => path.startsWith("node_modules/") && !NEVER_READ.test(path));
const packages = new Set([...traced, ...READ].map(packageOf));
const wanted = new Set([
  ...traced,
  ...READ.map((path) => join("node_modules", path)),
  ...whole.flatMap((name) => filesOf(join("node_modules", name))).filter((path) => !NEVER_READ.test(path) && !isForAnotherSystem(path)),
  // Of what is passed on, the licence is too.
  ...[...packages].flatMap((folder) => readdirSync(folder).filter((name) => /^(licen[cs]e|notice|copying)/i.test(name)).map((name) => join(folder, name))),
]);

let bytes = 0;
for (const path of wanted) {
  if (statSync(path).isDirectory()) continue;
  cpSync(path, join(target, path.slice("node_modules/".length)));
  bytes += statSync(path).size;
}
process.stdout.write(`${wanted.size} files of ${packages.size} packages, ${(bytes / 1e6).toFixed(1)} MB\n`);

function filesOf(folder) {
  if (!existsSync(folder)) throw new Error(`${folder} is missing: npm ci installs it`);
  return readdirSync(folder, { recursive: true, withFileTypes: true }).flatMap((entry) => (entry.isFile() ? [join(entry.parentPath ?? entry.path, entry.name)] : []));
}

/** The folder of the package that a file belongs to. */
function packageOf(path) {
  const file = path.startsWith("node_modules/") ? path : join("node_modules", path);
  const [, folder] = /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)/.exec(file);
  return folder;
}

/** onnxruntime-node has a folder of native code for each system and, in it, each processor. */
function isForAnotherSystem(path) {
  const [, system, processor] = /\/bin\/napi-v\d+\/([^/]+)\/([^/]+)\//.exec(path) ?? [];
  return system !== undefined && (system !== process.platform || processor !== process.arch);
}
