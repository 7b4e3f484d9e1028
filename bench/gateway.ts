import { readFileSync } from "node:fs";
import { Agent, type ClientRequest, request } from "node:http";
import { startServiceProcess } from "../tests/servers/service-process.js";
import { type Bench, type Figure, figure, median } from "./figure.js";
import { type Load, load, startBackend } from "./http-load.js";

const CONCURRENCY = 64;
const ROUNDS = 5;
const STREAMS = 2_000;

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
      const [mine, theirs] = [await load(`${url}/agents`, CONCURRENCY), await load(`${backend.http}/agents`, CONCURRENCY)];
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
