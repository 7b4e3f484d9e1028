import { execFileSync } from "node:child_process";
import { accessSync, constants, existsSync, readdirSync } from "node:fs";
import { createServer } from "node:net";
import { delimiter, join } from "node:path";

/** No server of this kind can be found or started here; the message says what to do. */
export class ServerUnavailableError extends Error {
  override name = "ServerUnavailableError";
}

/** A program's path, from the PATH or else from `folders` (newest name first); undefined when it is in none. */
export function findProgram(name: string, folders: readonly string[] = []): string | undefined {
  return [...(process.env.PATH ?? "").split(delimiter), ...folders]
    .filter((folder) => folder !== "")
    .map((folder) => join(folder, name))
    .find(isExecutable);
}

/** Folders below `parent`, newest version first, each with `suffix` appended, e.g. /usr/lib/postgresql/15/bin. */
export function versionedFolders(parent: string, suffix: string): string[] {
  if (!existsSync(parent)) return [];
  return readdirSync(parent)
    .sort((a, b) => b.localeCompare(a, "en", { numeric: true }))
    .map((version) => join(parent, version, suffix));
}

/** Whether this process may install Debian packages. */
export function isDebianRoot(): boolean {
  return process.getuid?.() === 0 && existsSync("/etc/debian_version") && findProgram("apt-get") !== undefined;
}

/** Installs Debian packages, one installer at a time on this machine. Throws with apt's own words. */
export function installDebianPackages(...names: string[]): void {
  const script = `apt-get update -qq && apt-get install -qq -y --no-install-recommends ${names.join(" ")}`;
  execFileSync("flock", ["/var/lock/ragents-tests-apt", "sh", "-c", script], {
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    stdio: ["ignore", "ignore", "pipe"],
  });
}

/** Whether a docker engine answers. */
export function hasDocker(): boolean {
  if (findProgram("docker") === undefined) return false;
  try {
    execFileSync("docker", ["info", "--format", "{{.ServerVersion}}"], { stdio: "ignore", timeout: 10_000 });
    return true;
  } catch {
    return false;
  }
}

/** A TCP port of the loopback interface that nobody used a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
