import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { chown, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import pg from "pg";
import { afterAll, beforeAll, describe } from "vitest";
import { dockerRuns, findProgram, installDebianPackage, skipSuites } from "./find-program.js";
import { freePort } from "./free-port.js";
import { endServerProcess, type ServerProcess, startServerProcess, untilReady } from "./server-process.js";

/** A PostgreSQL of the test's own, or an empty database on one that is given by its address. */
export interface PostgresServer {
  /** postgres://user@host:port/database */
  readonly url: string;
  /** SIGKILL: what was not committed is gone. Resolves when the process has ended. */
  kill(): Promise<void>;
  /** Starts it again after kill(): same address, same data. Resolves when it answers. */
  restart(): Promise<void>;
  /** Ends it and removes its files, or drops the database. */
  stop(): Promise<void>;
}

export interface PostgresServerOptions {
  /** The test kills the server: rules out one given by its address. */
  own?: boolean;
  /** Server settings beside ours, e.g. { fsync: "on" }. Rules out a server given by its address. */
  settings?: Record<string, string>;
}

const ADDRESS_VARIABLE = "RAGENTS_TEST_POSTGRES_URL";
const DOCKER_IMAGE = "postgres:15-alpine";
const REMEDY = `install postgresql, start docker, or set ${ADDRESS_VARIABLE} to a server on which tests may create databases.`;
/** Nothing here must survive the machine's end, and these make a start twice as fast. */
const TEST_SETTINGS = { fsync: "off", full_page_writes: "off", max_connections: "60" };
/** Long enough for an image's download. */
const START_TIMEOUT_MS = 300_000;

type Source = { kind: "binary"; folder: string } | { kind: "docker" };
type Owner = { uid?: number; gid?: number };
const run = promisify(execFile);

// Found, and installed where that is possible, before the suites of the file that imports this are declared.
const source = givenAddress({}) === undefined ? await findSource() : undefined;
const found = givenAddress({}) !== undefined || source !== undefined || skipSuites("PostgreSQL", REMEDY);

/** The path of one of PostgreSQL's own programs, such as pg_dump; undefined where the server is not installed here. */
export async function postgresProgram(name: string): Promise<string | undefined> {
  return source?.kind === "binary" ? findProgram(name, [source.folder]) : findProgram(name);
}

/** A suite that needs PostgreSQL: started before its tests and stopped after them; skipped where there is none. */
export function describePostgres(
  name: string,
  suite: (server: () => PostgresServer) => void,
  options: PostgresServerOptions = {},
): void {
  describe.skipIf(!found)(name, () => {
    let server: PostgresServer | undefined;
    beforeAll(async () => {
      server = await startPostgres(options);
    }, START_TIMEOUT_MS);
    afterAll(() => server?.stop());
    suite(() => server as PostgresServer);
  });
}

/** Starts a PostgreSQL on a free port of loopback, or makes a database on the one that the environment names. */
export async function startPostgres(options: PostgresServerOptions = {}): Promise<PostgresServer> {
  const address = givenAddress(options);
  if (address !== undefined) return createDatabase(address);
  const from = source ?? (await findSource());
  if (from === undefined) throw new Error(`PostgreSQL is not available: ${REMEDY}`);
  const port = await freePort();
  const url = `postgres://ragents@127.0.0.1:${port}/postgres`;
  const settings = Object.entries({ ...TEST_SETTINGS, ...options.settings }).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  return from.kind === "docker" ? startContainer(url, port, settings) : startProgram(from.folder, url, port, settings);
}

function givenAddress(options: PostgresServerOptions): string | undefined {
  return options.own === true || options.settings !== undefined ? undefined : process.env[ADDRESS_VARIABLE] || undefined;
}

async function findSource(): Promise<Source | undefined> {
  const initdb = (await findInitdb()) ?? ((await installDebianPackage("postgresql")) ? await findInitdb() : undefined);
  if (initdb !== undefined) return { kind: "binary", folder: dirname(initdb) };
  return (await dockerRuns()) ? { kind: "docker" } : undefined;
}

/** Packages put it where the PATH does not lead. */
async function findInitdb(): Promise<string | undefined> {
  const debian = "/usr/lib/postgresql";
  const versions = await readdir(debian).catch(() => []);
  const newestFirst = versions.sort((a, b) => b.localeCompare(a, "en", { numeric: true })).map((version) => join(debian, version, "bin"));
  return findProgram("initdb", [...newestFirst, "/opt/homebrew/opt/postgresql/bin", "/usr/local/opt/postgresql/bin"]);
}

async function createDatabase(url: string): Promise<PostgresServer> {
  const name = `ragents_test_${randomUUID().replaceAll("-", "")}`;
  const asAdmin = async (statement: string) => {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    await client.query(statement).finally(() => client.end());
  };
  await asAdmin(`create database ${name}`);
  const database = new URL(url);
  database.pathname = `/${name}`;
  const refuse = () => Promise.reject(new Error("this test needs a PostgreSQL of its own: startPostgres({ own: true })"));
  return { url: database.href, kill: refuse, restart: refuse, stop: () => asAdmin(`drop database if exists ${name} with (force)`) };
}

async function startProgram(programs: string, url: string, port: number, settings: string[]): Promise<PostgresServer> {
  const owner = await unprivilegedOwner();
  const folder = await mkdtemp(join(tmpdir(), "ragents-postgres-"));
  if (owner.uid !== undefined) await chown(folder, owner.uid, owner.gid ?? owner.uid);
  const data = join(folder, "data");
  const options = { ...owner, cwd: folder };
  await run(join(programs, "initdb"), ["-D", data, "-U", "ragents", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"], options);
  const place = ["-D", data, "-p", String(port), "-c", "listen_addresses=127.0.0.1", "-c", `unix_socket_directories=${folder}`];
  const launch = async () => {
    // After a crash the old backends may hold the data for a moment: it is tried until then.
    for (const deadline = Date.now() + 30_000; ; ) {
      const next = startServerProcess(join(programs, "postgres"), [...place, ...settings], options);
      try {
        await untilReady(next, () => answers(url));
        return next;
      } catch (error) {
        await endServerProcess(next);
        if (Date.now() > deadline) throw error;
      }
    }
  };
  return serverOf(url, launch, () => rm(folder, { recursive: true, force: true }));
}

async function startContainer(url: string, port: number, settings: string[]): Promise<PostgresServer> {
  const name = `ragents-postgres-${randomUUID()}`;
  const trust = ["-e", "POSTGRES_HOST_AUTH_METHOD=trust", "-e", "POSTGRES_USER=ragents", "-e", "POSTGRES_DB=postgres"];
  const made = ["create", "--name", name, "-p", `127.0.0.1:${port}:5432`, ...trust, DOCKER_IMAGE, "postgres", ...settings];
  await run("docker", made);
  const launch = async () => {
    const next = startServerProcess("docker", ["start", "-a", name], { container: name });
    await untilReady(next, () => answers(url), 60_000);
    return next;
  };
  return serverOf(url, launch, async () => void (await run("docker", ["rm", "-f", "-v", name])));
}

async function serverOf(url: string, launch: () => Promise<ServerProcess>, remove: () => Promise<void>): Promise<PostgresServer> {
  let server = await launch();
  return {
    url,
    async kill() {
      // Its backends would go on for a moment; one that it made meanwhile would wait forever for what a killed one held.
      await server.signal("SIGSTOP");
      const backends = await childrenOf(server.pid);
      await server.signal("SIGKILL");
      for (const pid of backends) killIfRunning(pid);
      await server.ended;
    },
    async restart() {
      server = await launch();
    },
    async stop() {
      // SIGTERM waits for clients to go; a test's may have been forgotten.
      await server.signal("SIGINT");
      await endServerProcess(server);
      await remove();
    },
  };
}

function killIfRunning(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** The processes that a process started; by /proc on Linux and pgrep elsewhere. */
async function childrenOf(pid: number): Promise<number[]> {
  const listed = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8").catch(() =>
    run("pgrep", ["-P", String(pid)]).then(({ stdout }) => stdout, () => ""),
  );
  return listed.split(/\s+/).filter(Boolean).map(Number);
}

/** PostgreSQL refuses to run as root. */
async function unprivilegedOwner(): Promise<Owner> {
  if (process.getuid?.() !== 0) return {};
  for (const name of ["postgres", "nobody"]) {
    const ids = await Promise.all(["-u", "-g"].map(async (flag) => Number((await run("id", [flag, name])).stdout))).catch(() => []);
    const [uid, gid] = ids;
    if (uid !== undefined && gid !== undefined) return { uid, gid };
  }
  throw new Error("PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody");
}

async function answers(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2_000 });
  client.on("error", () => {});
  try {
    await client.connect();
    await client.query("select 1");
    return true;
  } finally {
    await client.end().catch(() => {});
  }
}
