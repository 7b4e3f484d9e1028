import { Redis } from "ioredis";
import { freePort } from "./free-port.js";
import { type RedisServer, startRedis } from "./redis.js";

/** A Redis Cluster for tests: three masters that share the slots. */
export interface RedisClusterServers {
  /** redis+cluster://127.0.0.1:port,127.0.0.1:port,127.0.0.1:port */
  readonly url: string;
  readonly nodes: readonly RedisServer[];
  stop(): Promise<void>;
}

const SLOTS = 16_384;
const NODES = 3;

/** Starts three nodes and joins them; resolves when every node sees all slots served. */
export async function startRedisCluster(options: { args?: string[] } = {}): Promise<RedisClusterServers> {
  const nodes: RedisServer[] = [];
  const stop = async () => {
    await Promise.all(nodes.map((node) => node.stop()));
  };
  try {
    for (let i = 0; i < NODES; i += 1) {
      // Redis' own choice for the bus, port + 10000, may be above 65535 or taken.
      const bus = ["--cluster-port", String(await freePort())];
      const args = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", ...bus, ...(options.args ?? [])];
      nodes.push(await startRedis({ args }));
    }
    await join(nodes);
  } catch (error) {
    await stop();
    throw error;
  }
  return { url: `redis+cluster://${nodes.map((node) => `127.0.0.1:${node.port}`).join(",")}`, nodes, stop };
}

async function join(nodes: readonly RedisServer[]): Promise<void> {
  const clients = nodes.map((node) => new Redis(node.url));
  for (const client of clients) client.on("error", () => {});
  try {
    for (const [i, client] of clients.entries()) {
      const first = Math.ceil((i * SLOTS) / NODES);
      const last = Math.ceil(((i + 1) * SLOTS) / NODES) - 1;
      await client.call("CLUSTER", "ADDSLOTSRANGE", first, last);
      const bus = await client.config("GET", "cluster-port") as string[];
      for (const other of clients) {
        if (other !== client) await other.call("CLUSTER", "MEET", "127.0.0.1", nodes[i]!.port, bus[1]!);
      }
    }
    const deadline = Date.now() + 30_000;
    for (const client of clients) {
      for (;;) {
        const info = String(await client.cluster("INFO"));
        if (info.includes("cluster_state:ok") && info.includes(`cluster_known_nodes:${NODES}`)) break;
        if (Date.now() > deadline) throw new Error(`the cluster did not form: ${info}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  } finally {
    for (const client of clients) client.disconnect();
  }
}
