import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { dockerRuns, findProgram, installDebianPackage, skipSuites } from "./find-program.js";
import { freePort } from "./free-port.js";
import { endServerProcess, type ServerProcess, startServerProcess, untilReady } from "./server-process.js";

/** A Redis for tests, on loopback. */
export interface RedisServer {
  /** redis://127.0.0.1:port */
  readonly url: string;
  readonly port: number;
  /** Ends it and removes its files. */
  stop(): Promise<void>;
  /** SIGKILL: what was not written to disk is gone. Resolves when the process has ended. */
  kill(): Promise<void>;
  /** SIGSTOP: connections stay open and nothing answers. */
  pause(): Promise<void>;
  /** Ends a pause. */
  resume(): Promise<void>;
  /** Starts it again on the same port and files, after kill() or instead of it. Resolves when it answers. */
  restart(): Promise<void>;
}

export interface RedisServerOptions {
  /** Arguments of redis-server, after ours: no persistence, loopback, its own folder. Rules out a server given by address. */
  args?: string[];
  /** The test kills, pauses or floods it: rules out a server given by address. */
  own?: boolean;
}

const ADDRESS_VARIABLE = "RAGENTS_TEST_REDIS_URL";
const DOCKER_IMAGE = "redis:7";
const REMEDY = `install redis-server (7.0 or newer), start docker, or set ${ADDRESS_VARIABLE} to a server that tests may use.`;

type Source = { kind: "binary"; path: string } | { kind: "docker" };
let source: Promise<Source | undefined> | undefined;

function findSource(): Promise<Source | undefined> {
  source ??= (async () => {
    const path =
      (await findProgram("redis-server")) ??
      ((await installDebianPackage("redis-server")) ? await findProgram("redis-server") : undefined);
    if (path !== undefined) return { kind: "binary", path };
    return (await dockerRuns()) ? { kind: "docker" } : undefined;
  })();
  return source;
}

/** Whether suites that need Redis can run; says how to make them run when not. Use as `describe.skipIf(!(await redisFound()))`. */
export async function redisFound(options: RedisServerOptions = {}): Promise<boolean> {
  if (givenAddress(options) !== undefined || (await findSource()) !== undefined) return true;
  return skipSuites("Redis", REMEDY);
}

/** Starts a Redis without persistence, or takes the one that the environment names. */
export async function startRedis(options: RedisServerOptions = {}): Promise<RedisServer> {
  const address = givenAddress(options);
  if (address !== undefined) return givenServer(address);
  const found = await findSource();
  if (found === undefined) throw new Error(`Redis is not available: ${REMEDY}`);
  const folder = await mkdtemp(join(tmpdir(), "ragents-redis-"));
  const port = await freePort();
  let server = await launch(found, port, folder, options.args ?? []);
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    async stop() {
      await endServerProcess(server);
      await rm(folder, { recursive: true, force: true });
    },
    async kill() {
      await server.signal("SIGKILL");
      await server.ended;
    },
    pause: () => server.signal("SIGSTOP"),
    resume: () => server.signal("SIGCONT"),
    async restart() {
      await endServerProcess(server);
      server = await launch(found, port, folder, options.args ?? []);
    },
  };
}

async function launch(found: Source, port: number, folder: string, extra: string[]): Promise<ServerProcess> {
  const docker = found.kind === "docker";
  const hostNetwork = !docker || process.platform === "linux";
  const args = [
    ...["--port", String(port), "--bind", hostNetwork ? "127.0.0.1" : "0.0.0.0", "--protected-mode", "no"],
    ...["--save", "", "--appendonly", "no", "--dir", docker ? "/data" : folder, "--loglevel", "warning"],
    ...extra,
  ];
  let server: ServerProcess;
  if (docker) {
    const container = `ragents-redis-${randomUUID()}`;
    // The nodes of a cluster must reach each other as we reach them: the host's own network, where there is one.
    const network = hostNetwork ? ["--network", "host"] : ["-p", `127.0.0.1:${port}:${port}`];
    const run = ["run", "--rm", "--name", container, "-v", `${folder}:/data`, ...network];
    server = startServerProcess("docker", [...run, DOCKER_IMAGE, "redis-server", ...args], { container });
  } else {
    server = startServerProcess(found.path, args, { cwd: folder });
  }
  const probe = new Redis({ host: "127.0.0.1", port, lazyConnect: true, retryStrategy: () => 20, maxRetriesPerRequest: 0 });
  probe.on("error", () => {});
  try {
    await untilReady(server, async () => (await probe.ping()) === "PONG");
  } finally {
    probe.disconnect();
  }
  return server;
}

function givenAddress(options: RedisServerOptions): string | undefined {
  return options.own === true || options.args !== undefined ? undefined : process.env[ADDRESS_VARIABLE] || undefined;
}

function givenServer(url: string): RedisServer {
  const refuse = () => Promise.reject(new Error("this test needs a Redis of its own: startRedis({ own: true })"));
  return {
    url,
    port: Number(new URL(url).port || 6379),
    stop: async () => {},
    kill: refuse,
    pause: refuse,
    resume: refuse,
    restart: refuse,
  };
}
