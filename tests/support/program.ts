import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** What a program did until it ended. */
export interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Ports that do not disturb a mesh that runs on this machine already. */
export const FREE_PORTS = {
  RAGENTS_PORT: "0",
  RAGENTS_METRICS_PORT: "0",
  RAGENTS_CACHE_PORT: "0",
  RAGENTS_CHECKPOINT_PORT: "0",
  RAGENTS_RATELIMIT_PORT: "0",
  RAGENTS_RAG_PORT: "0",
  RAGENTS_AGENT_PORT: "0",
};

/** The environment of a new user: no keys and none of our variables but those given. */
export function cleanEnv(variables: Record<string, string> = {}): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^(RAGENTS_|OPENAI_|ANTHROPIC_|OPIK_|VITEST|NODE_OPTIONS|NODE_ENV|npm_)/.test(name));
  return { ...Object.fromEntries(kept), ...variables };
}

/** Runs a program to its end. */
export function runProgram(command: string, args: string[], options: { cwd: string; env: NodeJS.ProcessEnv }): Promise<Ended> {
  const child = spawn(command, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
  return collect(child);
}

async function collect(child: ChildProcess): Promise<Ended> {
  let stdout = "";
  let stderr = "";
  child.stdout?.on("data", (data) => (stdout += data));
  child.stderr?.on("data", (data) => (stderr += data));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  return { code, stdout, stderr };
}

/** A mesh started by `npm start`. */
export interface StartedMesh {
  /** The gateway's address, as printed. */
  url: string;
  /** All that was printed so far. */
  printed(): string;
  /** Kills the mesh itself with SIGKILL and waits until it is gone. */
  kill(): Promise<void>;
  /** Ends it by SIGTERM; resolves to npm's exit code. */
  stop(): Promise<number | null>;
}

/** Runs `npm start` in a checkout and waits until it has said where it listens. */
export async function npmStart(checkout: string, dataDir: string, variables: Record<string, string> = {}): Promise<StartedMesh> {
  const env = cleanEnv({ ...FREE_PORTS, RAGENTS_DATA_DIR: dataDir, ...variables });
  const child = spawn("npm", ["start"], { cwd: checkout, env, stdio: ["ignore", "pipe", "pipe"] });
  let printed = "";
  child.stderr.on("data", (data) => (printed += data));
  const closed = new Promise<number | null>((resolve) => child.once("close", resolve));
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout.on("data", (data) => {
      printed += data;
      const found = /REST, Connect\s+(http:\S+)[^]*npx ragents ask/.exec(printed);
      if (found?.[1] !== undefined) resolve(found[1]);
    });
    closed.then((code) => reject(new Error(`npm start ended with ${code}:\n${printed}`)));
  });
  const signal = (name: NodeJS.Signals) => {
    // npm is the child; the mesh is the process that holds the data folder.
    const { pid } = JSON.parse(readFileSync(join(dataDir, "lock"), "utf8")) as { pid: number };
    process.kill(pid, name);
  };
  return {
    url,
    printed: () => printed,
    async kill() {
      signal("SIGKILL");
      await closed;
    },
    stop() {
      signal("SIGTERM");
      return closed;
    },
  };
}
