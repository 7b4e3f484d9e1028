import { execFile } from "node:child_process";
import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** The path of a program on the PATH, or in one of `folders`; undefined when there is none. */
export async function findProgram(name: string, folders: string[] = []): Promise<string | undefined> {
  for (const folder of [...(process.env["PATH"] ?? "").split(delimiter), ...folders]) {
    const path = join(folder, name);
    const usable = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (folder !== "" && usable) return path;
  }
  return undefined;
}

/** Installs a Debian package when this process may: root on a Debian. Whether it did. */
export async function installDebianPackage(name: string): Promise<boolean> {
  if (process.getuid?.() !== 0 || (await findProgram("apt-get")) === undefined) return false;
  // The lock's timeout lets several test files ask at once; debconf must not wait for an answer.
  const options = ["-o", "DPkg::Lock::Timeout=600", "-y", "-q"];
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  try {
    await run("apt-get", [...options, "update"], { env }).catch(() => {});
    await run("apt-get", [...options, "install", "--no-install-recommends", name], { env });
    return true;
  } catch {
    return false;
  }
}

/** Whether a container engine answers under the name "docker". */
export async function dockerRuns(): Promise<boolean> {
  return run("docker", ["info"], { timeout: 5_000 }).then(
    () => true,
    () => false,
  );
}

/**
 * For a suite whose server cannot be had: false, saying how to run it. With
 * CI=true it throws instead, so that a green run has run everything.
 */
export function skipSuites(server: string, remedy: string): false {
  const message = `${server} is not available: ${remedy}`;
  if (process.env["CI"] === "true") throw new Error(message);
  console.warn(`Skipped: ${message}`);
  return false;
}
