import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { chownSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe } from "vitest";
import {
  findProgram,
  freePort,
  hasDocker,
  installDebianPackages,
  isDebianRoot,
  ServerUnavailableError,
  versionedFolders,
} from "./find-server.js";

/** A PostgreSQL of the test's own, or an empty database of its own on one that RAGENTS_TEST_POSTGRES_URL names. */
export interface PostgresServer {
  /** postgres://user@host:port/database */
  readonly url: string;
  /** Ends the server as a crash does (SIGKILL). Not for a server found by its address. */
  kill(): Promise<void>;
  /** Starts the server again after `kill`: same address, same data. */
  restart(): Promise<void>;
  /** Ends the server, or drops the database on one found by its address. */
  stop(): Promise<void>;
}

export interface PostgresOptions {
  /** The test kills the server: never take one found by its address. */
  own?: boolean;
  /** Server settings beside the defaults, e.g. { fsync: "on" }. */
  settings?: Record<string, string>;
}

const HELP =
  "needs PostgreSQL: set RAGENTS_TEST_POSTGRES_URL to a server where databases may be created, put `postgres` on the PATH, or start docker";
const IMAGE = "postgres:15-alpine";
/** Nothing here must survive the machine's end, and these make a start twice as fast. */
const TEST_SETTINGS = { fsync: "off", full_page_writes: "off", max_connections: "60" };
/** Long enough for a package's or an image's download. */
const START_TIMEOUT_MS = 300_000;

/**
 * A suite that needs a real PostgreSQL: started before its tests, stopped after
 * them. Without any the suite is skipped and says what it needs; with CI=true
 * that is a failure.
 */
export function describePostgres(
  name: string,
  suite: (server: () => PostgresServer) => void,
  options: PostgresOptions = {},
): void {
  const possible = options.own === true ? canStart() : process.env.RAGENTS_TEST_POSTGRES_URL !== undefined || canStart();
  if (!possible && process.env.CI !== "true") {
    describe.skip(`${name} (skipped: ${HELP})`, () => suite(() => undefined as never));
    return;
  }
  describe(name, () => {
    let server: PostgresServer | undefined;
    beforeAll(async () => {
      server = await startPostgres(options);
    }, START_TIMEOUT_MS);
    afterAll(() => server?.stop());
    suite(() => server as PostgresServer);
  });
}

/** Finds or starts a PostgreSQL on a free port of the loopback interface. Rejects with ServerUnavailableError when there is none. */
export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresServer> {
  const given = process.env.RAGENTS_TEST_POSTGRES_URL;
  if (given !== undefined && options.own !== true) return createDatabase(given);
  const programs = findPrograms() ?? (isDebianRoot() ? installPrograms() : undefined);
  if (programs !== undefined) return startProgram(programs, options);
  if (hasDocker()) return startContainer(options);
  throw new ServerUnavailableError(HELP);
}

function canStart(): boolean {
  return findPrograms() !== undefined || isDebianRoot() || hasDocker();
}

/** The folder of postgres and initdb, which packages do not always put on the PATH together. */
function findPrograms(): string | undefined {
  const folders = [
    ...versionedFolders("/usr/lib/postgresql", "bin"),
    "/opt/homebrew/opt/postgresql/bin",
    "/usr/local/opt/postgresql/bin",
  ];
  const initdb = findProgram("initdb", folders);
  return initdb === undefined ? undefined : dirname(initdb);
}

function installPrograms(): string | undefined {
  installDebianPackages("postgresql");
  return findPrograms();
}

async function createDatabase(url: string): Promise<PostgresServer> {
  const name = `ragents_test_${randomUUID().replaceAll("-", "")}`;
  const admin = async (statement: string) => {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    await client.query(statement).finally(() => client.end());
  };
  await admin(`create database ${name}`);
  const database = new URL(url);
  database.pathname = `/${name}`;
  const notOurs = () => Promise.reject(new Error("a server found by its address is not ours to kill: ask for one with { own: true }"));
  return {
    url: database.href,
    kill: notOurs,
    restart: notOurs,
    stop: () => admin(`drop database if exists ${name} with (force)`),
  };
}

async function startProgram(programs: string, { settings }: PostgresOptions): Promise<PostgresServer> {
  const user = unprivilegedUser();
  const folder = mkdtempSync(join(tmpdir(), "ragents-postgres-"));
  if (user.uid !== undefined) chownSync(folder, user.uid, user.gid ?? user.uid);
  const data = join(folder, "data");
  const initdb = ["-D", data, "-U", "ragents", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"];
  const made = spawnSync(join(programs, "initdb"), initdb, { ...user, cwd: folder, encoding: "utf8" });
  if (made.status !== 0) throw new Error(`initdb failed: ${made.stderr}`);
  const port = await freePort();
  const url = `postgres://ragents@127.0.0.1:${port}/postgres`;
  const all = { ...TEST_SETTINGS, ...settings, port: String(port), listen_addresses: "127.0.0.1", unix_socket_directories: folder };
  const args = ["-D", data, ...Object.entries(all).flatMap(([name, value]) => ["-c", `${name}=${value}`])];
  let child: ChildProcess | undefined;
  const end = async (signal: NodeJS.Signals) => {
    const running = child;
    child = undefined;
    if (running === undefined || running.exitCode !== null) return;
    const exited = new Promise((resolve) => running.once("exit", resolve));
    running.kill(signal);
    await exited;
  };
  // A test runner that dies must not leave a server behind.
  const endNow = () => void child?.kill("SIGKILL");
  process.once("exit", endNow);
  const start = async () => {
    // After a crash the old backends may hold the data for a moment: starting is tried until the deadline.
    const deadline = Date.now() + 30_000;
    for (;;) {
      const log: string[] = [];
      const next = spawn(join(programs, "postgres"), args, { ...user, cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
      next.stderr?.on("data", (text: Buffer) => log.push(text.toString()));
      child = next;
      if (await answers(url, deadline, () => next.exitCode !== null)) return;
      if (Date.now() > deadline) throw new Error(`PostgreSQL did not start: ${log.join("")}`);
    }
  };
  await start();
  return {
    url,
    kill: () => end("SIGKILL"),
    restart: start,
    async stop() {
      process.removeListener("exit", endNow);
      // The fast shutdown: clients are disconnected.
      await end("SIGINT");
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** PostgreSQL refuses to run as root. */
function unprivilegedUser(): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {};
  for (const name of ["postgres", "nobody"]) {
    const [uid, gid] = ["-u", "-g"].map((flag) => Number(spawnSync("id", [flag, name], { encoding: "utf8" }).stdout || Number.NaN));
    if (uid !== undefined && gid !== undefined && uid > 0) return { uid, gid };
  }
  throw new ServerUnavailableError("PostgreSQL refuses to run as root and there is no user postgres or nobody");
}

async function startContainer({ settings }: PostgresOptions): Promise<PostgresServer> {
  const docker = (...args: string[]) => execFileSync("docker", args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim();
  const port = await freePort();
  const flags = Object.entries({ ...TEST_SETTINGS, ...settings }).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const trust = ["-e", "POSTGRES_HOST_AUTH_METHOD=trust", "-e", "POSTGRES_USER=ragents", "-e", "POSTGRES_DB=postgres"];
  const id = docker("run", "-d", "-p", `127.0.0.1:${port}:5432`, ...trust, IMAGE, "postgres", ...flags);
  const url = `postgres://ragents@127.0.0.1:${port}/postgres`;
  const remove = () => void docker("rm", "-f", "-v", id);
  process.once("exit", remove);
  const ready = async () => {
    if (!(await answers(url, Date.now() + 60_000, () => false))) throw new Error(`PostgreSQL did not start: ${docker("logs", id)}`);
  };
  await ready();
  return {
    url,
    kill: async () => void docker("kill", id),
    async restart() {
      docker("start", id);
      await ready();
    },
    async stop() {
      process.removeListener("exit", remove);
      remove();
    },
  };
}

/** Asks until the server answers; false at the deadline or when it has ended. */
async function answers(url: string, deadline: number, ended: () => boolean): Promise<boolean> {
  while (Date.now() < deadline && !ended()) {
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2_000 });
    client.on("error", () => {});
    try {
      await client.connect();
      await client.query("select 1");
      return true;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50));
    } finally {
      await client.end().catch(() => {});
    }
  }
  return false;
}
