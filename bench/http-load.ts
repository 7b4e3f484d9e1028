import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { Agent, request } from "node:http";
import { join } from "node:path";

const ROUND_MS = 2_000;

/** Where the handlers of gateway-backend.ts listen. */
export interface Backend {
  readonly process: ChildProcess;
  readonly grpc: string;
  readonly http: string;
  readonly pid: number;
}

/** Starts those handlers in a process of their own. */
export async function startBackend(): Promise<Backend> {
  const program = join(import.meta.dirname, "gateway-backend.ts");
  const child = spawn(process.execPath, ["--import", "tsx", program], { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  return { process: child, ...(JSON.parse(String(line)) as { grpc: string; http: string; pid: number }) };
}

/** What a load came to. */
export interface Load {
  /** Answers a second. */
  readonly rate: number;
  /** Milliseconds that the middle one, and one of a hundred, took at least. */
  readonly p50: number;
  readonly p99: number;
}

/** GETs a URL over kept connections for a round, `concurrency` at once. Rejects when an answer is not 200. */
export async function load(url: string, concurrency: number, headers: Record<string, string> = {}): Promise<Load> {
  const agent = new Agent({ keepAlive: true, maxSockets: concurrency });
  const times: number[] = [];
  const started = performance.now();
  const worker = async () => {
    while (performance.now() - started < ROUND_MS) {
      const sent = performance.now();
      await get(url, agent, headers);
      times.push(performance.now() - sent);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
  const seconds = (performance.now() - started) / 1000;
  agent.destroy();
  times.sort((a, b) => a - b);
  return { rate: times.length / seconds, p50: times[Math.floor(times.length * 0.5)]!, p99: times[Math.floor(times.length * 0.99)]! };
}

function get(url: string, agent: Agent, headers: Record<string, string>): Promise<void> {
  return new Promise((resolve, reject) => {
    request(url, { agent, headers }, (response) => {
      if (response.statusCode !== 200) reject(new Error(`${url} answered ${response.statusCode}`));
      response.resume().on("end", resolve);
    })
      .on("error", reject)
      .end();
  });
}
