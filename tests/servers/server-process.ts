import { type ChildProcess, execFile, spawn, type SpawnOptions } from "node:child_process";
import { promisify } from "node:util";

/** A server of a test, and the signals it can be sent. */
export interface ServerProcess {
  readonly pid: number;
  /** Undefined while it runs, then what it wrote last. */
  readonly exited: string | undefined;
  signal(name: "SIGTERM" | "SIGINT" | "SIGKILL" | "SIGSTOP" | "SIGCONT"): Promise<void>;
  /** Resolves when it has ended. */
  readonly ended: Promise<void>;
}

export interface ServerProcessOptions extends SpawnOptions {
  /** The container's name, when `command` is docker: signals then go to the container. */
  container?: string;
}

const running = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** Starts a server that ends with this process at the latest. */
export function startServerProcess(command: string, args: string[], options: ServerProcessOptions = {}): ServerProcess {
  const { container, ...spawnOptions } = options;
  const child: ChildProcess = spawn(command, args, { ...spawnOptions, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  let exited: string | undefined;
  const collect = (chunk: Buffer) => {
    output = (output + chunk.toString()).slice(-4_000);
  };
  child.stdout?.on("data", collect);
  child.stderr?.on("data", collect);
  running.add(child);
  const ended = new Promise<void>((resolve) => {
    const end = (reason: string) => {
      exited ??= `${command} ended (${reason}): ${output.trim()}`;
      running.delete(child);
      resolve();
    };
    child.once("error", (error) => end(error.message));
    child.once("exit", (code, signal) => end(signal ?? `code ${code}`));
  });
  return {
    pid: child.pid ?? 0,
    get exited() {
      return exited;
    },
    async signal(name) {
      if (exited !== undefined) return;
      if (container === undefined) child.kill(name);
      else await promisify(execFile)("docker", ["kill", `--signal=${name}`, container]);
    },
    ended,
  };
}

/** Asks `ready` every 20 ms until it is true. Rejects after `timeoutMs`, or at once when the process ends, with what it wrote. */
export async function untilReady(server: ServerProcess, ready: () => Promise<boolean>, timeoutMs = 60_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    if (server.exited !== undefined) throw new Error(server.exited);
    if (await ready().catch(() => false)) return;
    if (Date.now() > deadline) throw new Error(`the server is not ready after ${timeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Ends a server, paused or not, and waits for it; by force after two seconds. */
export async function endServerProcess(server: ServerProcess): Promise<void> {
  await server.signal("SIGTERM");
  await server.signal("SIGCONT");
  const force = setTimeout(() => void server.signal("SIGKILL"), 2_000);
  await server.ended;
  clearTimeout(force);
}
