// Makes this checkout ready to run: installs when node_modules does not match the lockfile, builds when sources
// changed. Needs nothing but Node, so that `npm start` and `npm test` are the only commands there are to know.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, lstatSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const MIN_NODE = [20, 19, 0];
const root = dirname(dirname(fileURLToPath(import.meta.url)));
const BUILD_INPUTS = ["gen", "runtime", "clients", "services", "gateway", "cli", "launcher", "package.json", "tsconfig.json", "tsconfig.build.json"];

/** Installs and builds what is missing or old. Exits 1 with a sentence when that is impossible. */
export function setUp() {
  checkNode();
  const unlock = takeTurn();
  try {
    installWhenLockfileChanged();
    buildWhenSourcesChanged();
  } finally {
    unlock();
  }
}

function checkNode() {
  const found = process.versions.node.split(".").map(Number);
  for (let i = 0; i < MIN_NODE.length; i += 1) {
    if (found[i] > MIN_NODE[i]) return;
    if (found[i] < MIN_NODE[i]) {
      stop(`RAGents Mesh needs Node ${MIN_NODE.join(".")} or newer; this is ${process.versions.node}. Install a current LTS release from https://nodejs.org.`);
    }
  }
}

function installWhenLockfileChanged() {
  // Dependencies lent by another checkout are that one's to install.
  if (lstatSync(join(root, "node_modules"), { throwIfNoEntry: false })?.isSymbolicLink()) return;
  const stamp = join(root, "node_modules", ".ragents-lockfile");
  const wanted = hash([join(root, "package-lock.json"), join(root, ".npmrc")]);
  if (read(stamp) === wanted) return;
  say("Installing dependencies (first run, or the lockfile changed) ...");
  run("npm", ["ci", "--no-audit", "--no-fund"], "npm could not install the dependencies; its message is above. Check the network and try again.");
  writeFileSync(stamp, wanted);
}

function buildWhenSourcesChanged() {
  const stamp = join(root, "dist", ".sources");
  const wanted = hash(BUILD_INPUTS.flatMap((name) => sources(join(root, name))));
  if (read(stamp) === wanted) return;
  say("Building ...");
  rmSync(join(root, "dist"), { recursive: true, force: true });
  run(process.execPath, [join(root, "node_modules", "typescript", "bin", "tsc"), "-p", "tsconfig.build.json"], "The build failed; the compiler's message is above.");
  writeFileSync(stamp, wanted);
}

/** Two set-ups at once would install over each other: the second waits for the first. */
function takeTurn() {
  const lock = join(root, ".setup-lock");
  const deadline = Date.now() + 10 * 60_000;
  for (;;) {
    try {
      writeFileSync(lock, String(process.pid), { flag: "wx" });
      const unlock = () => rmSync(lock, { force: true });
      process.on("exit", unlock);
      return unlock;
    } catch (error) {
      if (error.code !== "EEXIST") stop(`This folder cannot be written to (${error.code}): ${root}`);
    }
    const owner = Number(read(lock));
    if (!alive(owner)) rmSync(lock, { force: true });
    else if (Date.now() > deadline) stop(`Another set-up (process ${owner}) has not ended for ten minutes. End it, or delete ${lock}.`);
    else Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
  }
}

function alive(pid) {
  try {
    return pid > 0 && process.kill(pid, 0);
  } catch (error) {
    return error.code === "EPERM";
  }
}

function sources(path) {
  if (!existsSync(path)) return [];
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path, { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => sources(join(path, entry.name)))
    .filter((file) => !file.endsWith(".test.ts") && !file.endsWith(".md"));
}

function hash(files) {
  const digest = createHash("sha256");
  for (const file of files) digest.update(file.slice(root.length)).update("\0").update(readFileSync(file)).update("\0");
  return digest.digest("hex");
}

function read(file) {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
}

function run(command, args, failure) {
  // npm is a script of the shell's on Windows; everywhere else no shell is involved.
  const result = spawnSync(command, args, { cwd: root, stdio: ["ignore", 2, 2], shell: process.platform === "win32" });
  if (result.error?.code === "ENOENT") stop(`${command} is not on the PATH; install Node.js with npm.`);
  if (result.status !== 0) stop(failure);
}

function say(text) {
  process.stderr.write(`${text}\n`);
}

function stop(text) {
  say(text);
  process.exit(1);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  setUp();
}
