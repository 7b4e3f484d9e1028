import { Cluster, Redis, type RedisOptions } from "ioredis";
import { ConfigError } from "./config.js";
import type { Logger } from "./logger.js";

/** A connection to one Redis or to a Redis Cluster; both take the same commands. */
export type RedisClient = Redis | Cluster;

export interface OpenRedisOptions {
  logger: Logger;
  /** Shown by CLIENT LIST. */
  name?: string;
  /** A command that is not answered by then rejects, in milliseconds. Default 2,000. */
  commandTimeoutMs?: number;
  /** How long one attempt to connect may take, in milliseconds. Default 2,000. */
  connectTimeoutMs?: number;
  /** Whether commands wait for a connection that is being made (within their timeout) or reject at once. Default true. */
  waitForConnection?: boolean;
}

/** Where a Redis is: parsed from its URL. */
export interface RedisTarget {
  nodes: { host: string; port: number }[];
  cluster: boolean;
  tls: boolean;
  username?: string;
  password?: string;
  /** Always 0 for a cluster. */
  database: number;
}

const FORMS = "redis://HOST:PORT[/DATABASE], rediss://..., redis+cluster://HOST:PORT[,HOST:PORT...] or rediss+cluster://...";
const DEFAULT_PORT = 6379;

/** @throws ConfigError naming the forms when the URL is none of them; never shows the URL, which may hold a password. */
export function parseRedisUrl(url: string): RedisTarget {
  const match = /^(rediss?)(\+cluster)?:\/\/(?:([^@/]*)@)?([^@/?#]+)(?:\/(\d*))?$/.exec(url);
  if (match === null) throw new ConfigError(`The Redis URL is not understood: give ${FORMS}.`);
  const [, scheme, cluster, credentials, hosts, database] = match;
  const [username, password] = credentials === undefined ? [] : splitOnce(credentials, ":").map(decodeURIComponent);
  const target: RedisTarget = {
    nodes: (hosts ?? "").split(",").map(parseNode),
    cluster: cluster !== undefined,
    tls: scheme === "rediss",
    database: Number(database || 0),
  };
  if (username !== undefined && username !== "") target.username = username;
  if (password !== undefined) target.password = password;
  if (target.cluster && target.database !== 0) throw new ConfigError("A Redis Cluster has only database 0: leave it out of the URL.");
  if (!target.cluster && target.nodes.length > 1) throw new ConfigError("The Redis URL names several hosts: use redis+cluster://.");
  return target;
}

/**
 * Opens a connection that heals itself: it connects in the background, again and again at growing intervals of at most
 * two seconds, and its errors are logged, once for each outage. Commands reject while Redis cannot be reached or does
 * not answer; none is sent twice.
 * @throws ConfigError when the URL is not understood.
 */
export function openRedis(url: string, options: OpenRedisOptions): RedisClient {
  const target = parseRedisUrl(url);
  const waitForConnection = options.waitForConnection ?? true;
  const common: RedisOptions = {
    connectTimeout: options.connectTimeoutMs ?? 2_000,
    commandTimeout: options.commandTimeoutMs ?? 2_000,
    keepAlive: 10_000,
    disableClientInfo: true,
    // A command that was sent may have been carried out: whether to repeat it is its caller's choice.
    autoResendUnfulfilledCommands: false,
    ...(options.name !== undefined && { connectionName: options.name }),
    ...(target.username !== undefined && { username: target.username }),
    ...(target.password !== undefined && { password: target.password }),
    ...(target.tls && { tls: {} }),
  };
  const client = target.cluster
    ? new Cluster(target.nodes, {
        redisOptions: { ...common, maxRetriesPerRequest: 0 },
        enableOfflineQueue: waitForConnection,
        clusterRetryStrategy: retryDelay,
        clusterNodeRetryStrategy: retryDelay,
        slotsRefreshTimeout: 2_000,
        slotsRefreshInterval: 5_000,
        // Certificates name hosts: the addresses that the cluster announces must not be looked up.
        ...(target.tls && { dnsLookup: (address: string, done: (error: null, address: string) => void) => done(null, address) }),
      })
    : new Redis({
        ...common,
        ...target.nodes[0]!,
        db: target.database,
        enableOfflineQueue: waitForConnection,
        maxRetriesPerRequest: waitForConnection ? null : 0,
        retryStrategy: retryDelay,
        // A replica that became one while we were connected refuses writes: find the master again.
        reconnectOnError: (error) => error.message.startsWith("READONLY"),
      });
  logOutages(client, options.logger);
  return client;
}

/** Milliseconds before attempt `times`, with jitter so that replicas do not come back in step. */
function retryDelay(times: number): number {
  return Math.min(2_000, 50 * 2 ** Math.min(times, 6)) * (0.75 + Math.random() / 2);
}

function logOutages(client: RedisClient, logger: Logger): void {
  let down = false;
  // Without a listener an error would end the process.
  client.on("error", (err: Error) => {
    if (!down) logger.warn("redis_unreachable", { err });
    down = true;
  });
  client.on("ready", () => {
    if (down) logger.info("redis_reachable");
    down = false;
  });
}

function parseNode(text: string): { host: string; port: number } {
  const match = /^(\[[0-9a-fA-F:]+\]|[^:[\]]+)(?::(\d{1,5}))?$/.exec(text);
  const port = Number(match?.[2] ?? DEFAULT_PORT);
  if (match === null || port < 1 || port > 65_535) throw new ConfigError(`The Redis URL has a bad host or port: give ${FORMS}.`);
  return { host: match[1]!.replace(/^\[|\]$/g, ""), port };
}

function splitOnce(text: string, separator: string): string[] {
  const at = text.indexOf(separator);
  return at === -1 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}
