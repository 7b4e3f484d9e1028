import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { Agent, type ClientRequest, request } from "node:http";
import { join } from "node:path";
import { startServiceProcess } from "../tests/servers/service-process.js";
import { type Bench, type Figure, figure, median } from "./figure.js";

const CONCURRENCY = 64;
const ROUNDS = 5;
const ROUND_MS = 2_000;
const STREAMS = 2_000;

/** Where the handlers of gateway-backend.ts listen. */
interface Backend {
  readonly process: ChildProcess;
  readonly grpc: string;
  readonly http: string;
  readonly pid: number;
}

async function startBackend(): Promise<Backend> {
  const program = join(import.meta.dirname, "gateway-backend.ts");
  const child = spawn(process.execPath, ["--import", "tsx", program], { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  return { process: child, ...(JSON.parse(String(line)) as { grpc: string; http: string; pid: number }) };
}

interface Load {
  /** Answers a second. */
  readonly rate: number;
  /** Milliseconds that the middle one, and one of a hundred, took at least. */
  readonly p50: number;
  readonly p99: number;
}

/** GETs a URL over kept connections, as many at once as there are. */
async function load(url: string): Promise<Load> {
  const agent = new Agent({ keepAlive: true, maxSockets: CONCURRENCY });
  const times: number[] = [];
  const started = performance.now();
  const worker = async () => {
    while (performance.now() - started < ROUND_MS) {
      const sent = performance.now();
      await get(url, agent);
      times.push(performance.now() - sent);
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, worker));
  const seconds = (performance.now() - started) / 1000;
  agent.destroy();
  times.sort((a, b) => a - b);
  return { rate: times.length / seconds, p50: times[Math.floor(times.length * 0.5)]!, p99: times[Math.floor(times.length * 0.99)]! };
}

function get(url: string, agent: Agent): Promise<void> {
  return new Promise((resolve, reject) => {
    request(url, { agent }, (response) => {
      if (response.statusCode !== 200) reject(new Error(`${url} answered ${response.statusCode}`));
      response.resume().on("end", resolve);
    })
      .on("error", reject)
      .end();
  });
}

/** Opens streams, and returns the memory that a process took for each while all were open, in KiB. */
async function memoryOfStream(url: string, pid: number): Promise<number> {
  const agent = new Agent({ keepAlive: false, maxSockets: Infinity });
  const open: ClientRequest[] = [];
  const before = residentKib(pid);
  for (let i = 0; i < STREAMS; i += 50) open.push(...(await Promise.all(Array.from({ length: 50 }, () => openStream(url, agent)))));
  const after = residentKib(pid);
  for (const stream of open) stream.destroy();
  agent.destroy();
  return (after - before) / STREAMS;
}

/** Resolves when the first event has come; what comes later is read too. */
function openStream(url: string, agent: Agent): Promise<ClientRequest> {
  return new Promise((resolve, reject) => {
    const body = JSON.stringify({ query: "What is held?" });
    const headers = { "content-type": "application/json", accept: "text/event-stream" };
    const stream = request(`${url}/v1/query:stream`, { method: "POST", agent, headers }, (response) => {
      if (response.statusCode !== 200) reject(new Error(`a stream was answered with ${response.statusCode}`));
      response.on("error", () => {});
      response.once("data", () => resolve(stream));
    });
    stream.on("error", reject);
    stream.end(body);
  });
}

function residentKib(pid: number): number {
  const [, kib] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return Number(kib);
}

async function run(): Promise<Figure[]> {
  const backend = await startBackend();
  const gateway = await startServiceProcess("gateway", { RAGENTS_AGENT_ADDRESS: backend.grpc }, { built: true });
  const url = `http://${gateway.address}`;
  try {
    // First: what a load has left to be collected would take the streams in.
    const streams = { peer: await memoryOfStream(backend.http, backend.pid), ours: await memoryOfStream(url, gateway.pid) };
    const ours: Load[] = [];
    const peer: Load[] = [];
    for (let round = 0; round <= ROUNDS; round += 1) {
      const [mine, theirs] = [await load(`${url}/agents`), await load(`${backend.http}/agents`)];
      // The first round warms both up.
      if (round === 0) continue;
      ours.push(mine);
      peer.push(theirs);
    }
    const of = (loads: Load[], what: keyof Load) => median(loads.map((one) => one[what]));
    const both = (what: keyof Load) => ({ ours: of(ours, what), peer: of(peer, what) });
    return [
      figure({ name: "REST unary through gateway and gRPC vs bare fastify, c=64", ...both("rate"), unit: "requests/s", better: "higher", aim: 0.25 }),
      figure({ name: "the same, p50", ...both("p50"), unit: "ms", better: "lower", aim: 0.25 }),
      figure({ name: "the same, p99", ...both("p99"), unit: "ms", better: "lower", aim: 0.25 }),
      figure({ name: `memory of each of ${STREAMS} SSE streams held at once`, ...streams, unit: "KiB", better: "lower", aim: 0.25 }),
    ];
  } finally {
    await gateway.stop();
    backend.process.kill();
  }
}

export const bench: Bench = { packages: ["fastify", "@grpc/grpc-js", "@connectrpc/connect-node"], run };
