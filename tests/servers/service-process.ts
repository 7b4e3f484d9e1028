import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePort } from "./free-port.js";
import { endServerProcess, type ServerProcess, startServerProcess, untilReady } from "./server-process.js";

/** One of our services in a process of its own. */
export interface ServiceProcess extends ServerProcess {
  /** host:port of its gRPC server, of its HTTP server for the gateway. */
  readonly address: string;
  /** host:port of its probes and metrics. */
  readonly probes: string;
  /** SIGTERM, and waits for the end. */
  stop(): Promise<void>;
}

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..", "..");

/** Starts a service, or the gateway, from its sources or as it was built; resolves when it is ready. */
export async function startServiceProcess(
  name: string,
  env: Record<string, string> = {},
  { built = false }: { built?: boolean } = {},
): Promise<ServiceProcess> {
  const [port, probePort] = [await freePort(), await freePort()];
  const isGateway = name === "gateway";
  const folder = join(built ? "dist" : "", isGateway ? "" : "services", name);
  const program = built ? [join(folder, "main.js")] : ["--import", "tsx", join(folder, "main.ts")];
  const server = startServerProcess(process.execPath, program, {
    cwd: ROOT,
    env: {
      ...process.env,
      RAGENTS_LOG_LEVEL: "warn",
      [isGateway ? "RAGENTS_PORT" : `RAGENTS_${name.toUpperCase()}_PORT`]: String(port),
      RAGENTS_METRICS_PORT: String(probePort),
      ...env,
    },
  });
  await untilReady(server, async () => (await fetch(`http://127.0.0.1:${probePort}/readyz`)).ok);
  return Object.assign(server, { address: `127.0.0.1:${port}`, probes: `127.0.0.1:${probePort}`, stop: () => endServerProcess(server) });
}
