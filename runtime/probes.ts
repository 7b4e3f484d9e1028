import { createServer } from "node:http";
import { Registry } from "prom-client";
import { PortInUseError } from "./grpc-server.js";

export interface ProbeServer {
  /** host:port with the port that was bound. */
  readonly address: string;
  close(): Promise<void>;
}

/**
 * Serves /livez, /readyz and /metrics of the process. Liveness is about the
 * process alone; readiness asks `ready`, which names what is missing.
 */
export async function startProbes(options: {
  host: string;
  port: number;
  /** Resolves to what the process has counted, in Prometheus' text format. */
  metrics: () => Promise<string>;
  /** Resolves to the names of what is not ready; empty when traffic may come. */
  notReady: () => Promise<string[]>;
}): Promise<ProbeServer> {
  const server = createServer((request, response) => {
    const answer = (status: number, body: string, type = "text/plain; charset=utf-8") => {
      response.writeHead(status, { "content-type": type });
      response.end(body);
    };
    const respond = async () => {
      switch (request.url?.split("?")[0]) {
        case "/livez":
          return answer(200, "ok\n");
        case "/readyz": {
          const missing = await options.notReady();
          return missing.length === 0 ? answer(200, "ok\n") : answer(503, `not ready: ${missing.join(", ")}\n`);
        }
        case "/metrics":
          return answer(200, await options.metrics(), Registry.PROMETHEUS_CONTENT_TYPE);
        default:
          return answer(404, "try /livez, /readyz or /metrics\n");
      }
    };
    respond().catch(() => answer(500, "error\n"));
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) =>
      reject(error.code === "EADDRINUSE" ? new PortInUseError(options.host, options.port) : error),
    );
    server.listen(options.port, options.host, () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : options.port);
    });
  });
  return {
    address: `${options.host}:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
