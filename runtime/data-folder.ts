import { execFileSync } from "node:child_process";
import { accessSync, constants, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { ConfigError } from "./config.js";

/** The folder that holds the embedded stores, owned by this process. */
export interface DataFolder {
  readonly path: string;
  release(): void;
}

/** Who holds a folder: a pid alone may belong to someone else after a crash. */
interface Owner {
  pid: number;
  /** When that process started, in the system's own words; empty where it cannot be told. */
  started: string;
}

/**
 * Creates the folder where needed and takes its lock: two processes on one
 * embedded database silently lose rows. A lock whose owner has died is taken
 * over. Throws ConfigError in a sentence when the folder cannot be used.
 */
export function openDataFolder(folder: string): DataFolder {
  const path = resolve(folder);
  try {
    makeFolder(path);
    accessSync(path, constants.W_OK | constants.R_OK);
  } catch (error) {
    throw new ConfigError(`The data folder ${path} cannot be written to (${errorCode(error)}). Set RAGENTS_DATA_DIR to a folder of yours.`);
  }
  const lock = join(path, "lock");
  const mine = JSON.stringify({ pid: process.pid, started: startTime(process.pid) } satisfies Owner);
  for (let attempt = 1; ; attempt += 1) {
    try {
      writeFileSync(lock, mine, { flag: "wx" });
      return { path, release: () => rmSync(lock, { force: true }) };
    } catch (error) {
      if (errorCode(error) !== "EEXIST") {
        throw new ConfigError(`The data folder ${path} cannot be locked (${errorCode(error)}). Set RAGENTS_DATA_DIR to a folder of yours.`);
      }
    }
    const owner = readOwner(lock);
    if (attempt === 3 || (owner !== undefined && isRunning(owner))) {
      throw new ConfigError(
        `The data folder ${path} is in use by another RAGents Mesh (process ${owner?.pid ?? "unknown"}). Stop that one, or set RAGENTS_DATA_DIR to another folder.`,
      );
    }
    rmSync(lock, { force: true });
  }
}

/** Makes a folder and those above it. Node's own recursive mkdir never ends where a folder exists that takes no entries, such as /proc. */
function makeFolder(path: string): void {
  try {
    mkdirSync(path);
  } catch (error) {
    const parent = dirname(path);
    if (errorCode(error) === "EEXIST" && statSync(path).isDirectory()) return;
    if (errorCode(error) !== "ENOENT" || existsSync(parent)) throw error;
    makeFolder(parent);
    mkdirSync(path);
  }
}

function readOwner(lock: string): Owner | undefined {
  try {
    const { pid, started } = JSON.parse(readFileSync(lock, "utf8")) as Partial<Owner>;
    return typeof pid === "number" && typeof started === "string" ? { pid, started } : undefined;
  } catch {
    return undefined;
  }
}

function isRunning({ pid, started }: Owner): boolean {
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (errorCode(error) !== "EPERM") return false;
  }
  // Another process may have been given the dead one's pid since.
  const now = startTime(pid);
  return started === "" || now === "" || now === started;
}

/** When a process started, by /proc on Linux and ps elsewhere; empty where neither can tell. */
function startTime(pid: number): string {
  try {
    // The 22nd field, counted behind the command's name, which may hold blanks.
    return readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /s, "").split(" ")[19] ?? "";
  } catch {
    try {
      return execFileSync("ps", ["-o", "lstart=", "-p", String(pid)], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
    } catch {
      return "";
    }
  }
}

function errorCode(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? "unknown error";
}
