import { type DescMethod, toBinary } from "@bufbuild/protobuf";
import { Client, credentials, Metadata, status, type ServiceError } from "@grpc/grpc-js";
import { afterAll, beforeAll, expect, test } from "vitest";
import { fullMessage } from "../../gateway/openapi/testdata/samples.js";
import { startTestMesh, type TestMesh } from "../support/mesh.js";
import { allServices } from "../support/services.js";

const BACKENDS: Record<string, string> = { CacheService: "cache", CheckpointService: "checkpoint", RateLimitService: "ratelimit", QueueService: "ratelimit", RagService: "rag", AgentService: "agent" };
/** Inputs a method gets of each kind. */
const ROUNDS = 12;
const CONCURRENCY = 16;
/** A call that waits for something ends by this. */
const DEADLINE_MS = 2_000;
const SEED = 20_261_121;

let mesh: TestMesh;
beforeAll(async () => {
  mesh = await startTestMesh();
});
afterAll(() => mesh?.stop());

/** Numbers that look random and are the same in every run: mulberry32. */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** What a method is sent: noise, a message cut short, one with wrong bytes in it, and one that announces more than there is. */
function inputsOf(method: DescMethod, random: () => number): Buffer[] {
  const whole = Buffer.from(toBinary(method.input, fullMessage(method.input)));
  const upTo = (max: number) => Math.floor(random() * max);
  return Array.from({ length: ROUNDS }, () => {
    const noise = Buffer.from(Array.from({ length: upTo(200) }, () => upTo(256)));
    const damaged = Buffer.from(whole);
    for (let i = 0; i <= upTo(4) && damaged.length > 0; i += 1) damaged[upTo(damaged.length)] = upTo(256);
    const announced = Buffer.concat([Buffer.from([(1 + upTo(6)) * 8 + 2, 0xff, 0xff, 0xff, 0xff, 0x07]), whole]);
    return [noise, whole.subarray(0, upTo(whole.length + 1)), damaged, announced];
  }).flat();
}

/** The status that a call ends with, whatever kind of call the method is. */
function call(client: Client, method: DescMethod, input: Buffer): Promise<ServiceError | { code: number; details: string }> {
  const plain = (bytes: Buffer) => bytes;
  return new Promise((resolve) => {
    const path = `/${method.parent.typeName}/${method.name}`;
    const stream = client.makeBidiStreamRequest(path, plain, plain, new Metadata(), { deadline: Date.now() + DEADLINE_MS });
    stream.on("data", () => {});
    stream.on("error", () => {});
    stream.on("status", resolve);
    stream.write(input);
    stream.end();
  });
}

/** What a server may say of a request that makes no sense. UNKNOWN and INTERNAL are what it says when it has failed itself. */
const PROPER = new Set([
  status.OK,
  status.INVALID_ARGUMENT,
  status.NOT_FOUND,
  status.ALREADY_EXISTS,
  status.FAILED_PRECONDITION,
  status.ABORTED,
  status.OUT_OF_RANGE,
  status.RESOURCE_EXHAUSTED,
  status.PERMISSION_DENIED,
  // Of calls that wait: for tokens, items, changes.
  status.DEADLINE_EXCEEDED,
]);

test("bytes that are no message get a proper status from every method, and leave the services as they were", async () => {
  const random = randomNumbers(SEED);
  const services = (await allServices()).filter(({ name }) => name in BACKENDS);
  expect(services.map(({ name }) => name).sort()).toEqual(Object.keys(BACKENDS).sort());
  const counts = new Map<string, number>();
  const improper: string[] = [];
  const before = process.memoryUsage().rss;
  for (const service of services) {
    const client = new Client(mesh.addressOf(BACKENDS[service.name]!), credentials.createInsecure());
    const calls = service.methods.flatMap((method) => inputsOf(method, random).map((input) => ({ method, input })));
    const worker = async () => {
      for (let next = calls.shift(); next !== undefined; next = calls.shift()) {
        const { code, details } = await call(client, next.method, next.input);
        counts.set(status[code]!, (counts.get(status[code]!) ?? 0) + 1);
        if (!PROPER.has(code)) improper.push(`${next.method.name} ${status[code]} ${details}: ${next.input.toString("hex").slice(0, 400)}`);
      }
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, worker));
    client.close();
  }
  expect(improper).toEqual([]);
  expect(counts.get("INVALID_ARGUMENT")).toBeGreaterThan(500);
  expect((process.memoryUsage().rss - before) / 1024 / 1024).toBeLessThan(400);
  expect((await mesh.rest("GET", "/health")).body).toMatchObject({ status: "healthy" });
  console.info(`gRPC fuzz: ${JSON.stringify(Object.fromEntries(counts))}`);
}, 120_000);
