import { execFile } from "node:child_process";
import { access, mkdir, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { findProgram, installDebianPackage } from "./find-program.js";

const run = promisify(execFile);

/**
 * A Python environment with packages from PyPI, made once for all later runs of this user's tests; undefined when this process may not
 * install software, or cannot.
 * @param packages of exact versions, e.g. ["grpcio==1.85.1"]
 * @returns its folder
 */
export async function pythonEnvironment(packages: readonly string[]): Promise<string | undefined> {
  const cache = join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "ragents-mesh");
  const folder = join(cache, packages.map((name) => name.replace("==", "-")).join("+"));
  const complete = join(folder, "complete");
  if (await exists(complete)) return folder;
  if (process.getuid?.() !== 0 || (await findProgram("apt-get")) === undefined) return undefined;
  const hasVenv = await run("python3", ["-c", "import venv, ensurepip"]).then(
    () => true,
    () => installDebianPackage("python3-venv"),
  );
  if (!hasVenv) return undefined;
  try {
    await mkdir(cache, { recursive: true });
    await run("python3", ["-m", "venv", "--clear", folder]);
    await run(join(folder, "bin", "python"), ["-m", "pip", "install", "--quiet", ...packages]);
    // An environment that was broken off is made anew.
    await writeFile(complete, "");
    return folder;
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    console.warn(`${packages.join(" ")} cannot be installed: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
