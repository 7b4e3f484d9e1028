import { AIMessage, type BaseMessage, HumanMessage } from "@langchain/core/messages";
import type { RunnableConfig } from "@langchain/core/runnables";
import { type BaseCheckpointSaver, type CheckpointMetadata, uuid6 } from "@langchain/langgraph-checkpoint";
import { PostgresSaver } from "@langchain/langgraph-checkpoint-postgres";
import pg from "pg";
import { startPostgres } from "../tests/servers/postgres.js";
import { startServiceProcess } from "../tests/servers/service-process.js";
import { built } from "./built.js";
import { type Bench, type Figure, figure, inTurns, median } from "./figure.js";

const STEPS = 200;
const MESSAGE_BYTES = 1_000;
const ROUNDS = 5;
/** Threads that each side writes before it is measured: compilers and pools are warm then. */
const WARM_UP_THREADS = 3;
const READS = 20;

const words = wordList();
let postgresVersion = "unknown";
let thread = 0;

/**
 * Writes a thread as LangGraph does: in each step a task's writes and the
 * checkpoint that follows at once, and the next step when both are stored.
 */
async function writeThread(saver: BaseCheckpointSaver, threadId: string, afterStep?: (step: number) => Promise<void>): Promise<void> {
  const messages: BaseMessage[] = [];
  let config: RunnableConfig = { configurable: { thread_id: threadId, checkpoint_ns: "" } };
  for (let step = 1; step <= STEPS; step += 1) {
    const Message = step % 2 === 1 ? HumanMessage : AIMessage;
    const message = new Message({ content: text(), id: `message-${step}` });
    messages.push(message);
    const writing =
      step === 1 ? undefined : saver.putWrites(config, [["messages", [message]], ["branch:to:agent", null]], uuid6(step));
    const versions = { __start__: 2, messages: step + 1, "branch:to:agent": step + 2 };
    const checkpoint = {
      v: 4,
      id: uuid6(step),
      ts: new Date().toISOString(),
      channel_values: { messages: [...messages] },
      channel_versions: versions,
      versions_seen: { __input__: {}, __start__: { __start__: 1 }, agent: { "branch:to:agent": step + 1 } },
    };
    const metadata: CheckpointMetadata = { source: "loop", step, parents: {} };
    const { __start__, ...changed } = versions;
    config = await saver.put(config, checkpoint, metadata, step === 1 ? { __start__, ...changed } : changed);
    await writing;
    await afterStep?.(step);
  }
}

/** Milliseconds to write a thread. */
async function writes(saver: BaseCheckpointSaver): Promise<number> {
  const started = performance.now();
  await writeThread(saver, `written-${(thread += 1)}`);
  return performance.now() - started;
}

/** Milliseconds to read a thread's last checkpoint by a saver that has not seen it. */
async function resume(newSaver: () => BaseCheckpointSaver, threadId: string): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < READS; i += 1) {
    const saver = newSaver();
    const started = performance.now();
    const tuple = await saver.getTuple({ configurable: { thread_id: threadId } });
    times.push(performance.now() - started);
    const messages = tuple?.checkpoint.channel_values.messages as BaseMessage[];
    if (messages.length !== STEPS || !(messages[0] instanceof HumanMessage)) throw new Error("the thread did not come back");
  }
  return median(times);
}

/** Bytes that a thread takes on disk, with indexes, after half of its steps and after all. */
async function diskBytes(saver: BaseCheckpointSaver, pool: pg.Pool, schema: string): Promise<{ half: number; all: number }> {
  const before = await schemaBytes(pool, schema);
  let half = 0;
  await writeThread(saver, `measured-${schema}`, async (step) => {
    if (step === STEPS / 2) half = (await schemaBytes(pool, schema)) - before;
  });
  return { half, all: (await schemaBytes(pool, schema)) - before };
}

async function schemaBytes(pool: pg.Pool, schema: string): Promise<number> {
  const { rows } = await pool.query<{ bytes: string }>(
    `select sum(pg_total_relation_size(c.oid)) as bytes from pg_class c
    join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and c.relkind = 'r'`,
    [schema],
  );
  return Number(rows[0]?.bytes);
}

async function run(): Promise<Figure[]> {
  const { GrpcCheckpointSaver } = await built<typeof import("../clients/checkpoint/index.js")>("clients/checkpoint/index.js");
  const { createGrpcTransport } = await built<typeof import("../runtime/grpc-transport.js")>("runtime/grpc-transport.js");
  const { CheckpointService } = await built<typeof import("../gen/ragents/checkpoint/v1/checkpoint_service_pb.js")>(
    "gen/ragents/checkpoint/v1/checkpoint_service_pb.js",
  );
  // As a server is that must not lose what it acknowledged.
  const server = await startPostgres({ settings: { fsync: "on", full_page_writes: "on" } });
  const pool = new pg.Pool({ connectionString: server.url });
  pool.on("error", () => {});
  postgresVersion = String((await pool.query<{ version: string }>("select current_setting('server_version') as version")).rows[0]?.version);
  // Both keep all of a thread's checkpoints.
  const service = await startServiceProcess(
    "checkpoint",
    { RAGENTS_CHECKPOINT_URL: server.url, RAGENTS_CHECKPOINT_MAX_PER_THREAD: "0" },
    { built: true },
  );
  const transport = createGrpcTransport({ address: service.address, services: [CheckpointService] });
  const ours = new GrpcCheckpointSaver({ transport });
  const peerPool = new pg.Pool({ connectionString: server.url });
  peerPool.on("error", () => {});
  const peer = new PostgresSaver(peerPool, undefined, { schema: "peer" });
  try {
    await peer.setup();
    for (let i = 0; i < WARM_UP_THREADS; i += 1) {
      for (const saver of [ours, peer]) await writeThread(saver, `warm-${i}`);
    }
    const written = await inTurns(ROUNDS, () => writes(ours), () => writes(peer));
    const read = await inTurns(
      ROUNDS,
      () => resume(() => new GrpcCheckpointSaver({ transport }), "warm-0"),
      () => resume(() => new PostgresSaver(peerPool, undefined, { schema: "peer" }), "warm-0"),
    );
    const disk = { ours: await diskBytes(ours, pool, "checkpoint"), peer: await diskBytes(peer, pool, "peer") };
    const growth = { ours: disk.ours.all / disk.ours.half, peer: disk.peer.all / disk.peer.half };
    return [
      figure({
        name: `writes of a thread of ${STEPS} steps`,
        ...written,
        unit: "ms",
        better: "lower",
        aim: 3,
        missed:
          "Steps come one at a time, each through three processes that are woken in turn: about two fifths of its time are the program's, " +
          "two fifths the service's and a fifth the database's. The saver beside it talks to PostgreSQL itself, and writes the whole list anew.",
      }),
      figure({ name: "disk that it takes", ours: disk.ours.all, peer: disk.peer.all, unit: "bytes", better: "lower", aim: 10 }),
      figure({ name: "resume from its last checkpoint", ...read, unit: "ms", better: "lower", aim: 10 }),
      {
        name: `growth of disk from ${STEPS / 2} to ${STEPS} steps`,
        ...growth,
        ratio: growth.ours,
        unit: "times",
        aim: 2.2,
        atMost: true,
      },
    ];
  } finally {
    transport.close();
    await service.stop();
    await Promise.all([pool.end(), peerPool.end()]);
    await server.stop();
  }
}

/** About as repetitive as English, and the same in every run. */
function text(): string {
  let line = "";
  while (line.length < MESSAGE_BYTES) line += `${words.next().value} `;
  return line.slice(0, MESSAGE_BYTES);
}

function* wordList(): Generator<string, never> {
  let state = 42;
  const random = (below: number) => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((state / 2_147_483_648) * below);
  };
  const letters = () => Array.from({ length: 2 + random(9) }, () => String.fromCharCode(97 + random(26))).join("");
  const vocabulary = Array.from({ length: 5_000 }, letters);
  // The square favours some words over others, as language does.
  for (;;) yield vocabulary[Math.floor(random(1_000_000) ** 2 / 1e12 * vocabulary.length)] as string;
}

export const bench: Bench = {
  packages: ["@langchain/langgraph-checkpoint-postgres", "@langchain/langgraph-checkpoint", "pg", "@grpc/grpc-js"],
  serverVersions: () => ({ PostgreSQL: postgresVersion }),
  run,
};
