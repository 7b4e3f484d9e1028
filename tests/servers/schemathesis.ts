import { execFile } from "node:child_process";
import { access, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { findProgram, installDebianPackage } from "./find-program.js";

const run = promisify(execFile);

const PACKAGE = "schemathesis==4.32.5";
/** How to have it where it cannot be installed by itself. */
export const SCHEMATHESIS_REMEDY = `run "pip install ${PACKAGE}", or set RAGENTS_TEST_SCHEMATHESIS to the program's path.`;

let program: Promise<string | undefined> | undefined;

/** The path of schemathesis, which is made ready for all later runs of this user's tests; undefined when it cannot be had. */
export function findSchemathesis(): Promise<string | undefined> {
  program ??= (async () => process.env["RAGENTS_TEST_SCHEMATHESIS"] || (await findProgram("schemathesis")) || (await install()))();
  return program;
}

async function install(): Promise<string | undefined> {
  const cache = join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "ragents-mesh");
  const folder = join(cache, PACKAGE.replace("==", "-"));
  const installed = join(folder, "bin", "schemathesis");
  if (await exists(installed)) return installed;
  if (process.getuid?.() !== 0 || (await findProgram("apt-get")) === undefined) return undefined;
  const hasVenv = await run("python3", ["-c", "import venv, ensurepip"]).then(
    () => true,
    () => installDebianPackage("python3-venv"),
  );
  if (!hasVenv) return undefined;
  try {
    await run("python3", ["-m", "venv", "--clear", folder]);
    await run(join(folder, "bin", "pip"), ["install", "--quiet", PACKAGE]);
    return installed;
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    console.warn(`Schemathesis cannot be installed: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
