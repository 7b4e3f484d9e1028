import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../../runtime/package-root.js";
import { envoyProgram } from "../servers/envoy.js";
import { freePort } from "../servers/free-port.js";
import { cleanEnv } from "../support/program.js";
import type { TestMesh } from "../support/mesh.js";

/** `npm run edge` as a process of its own. */
export interface EdgeProcess {
  /** host:port of the public address. */
  readonly address: string;
  /** The admin interface. */
  readonly admin: string;
  /** The authority of its certificate. */
  readonly ca: Buffer;
  /** All that it and its Envoys wrote. */
  output(): string;
  /** Asks it to put a new Envoy in the old one's place. */
  restart(): void;
  stop(): Promise<void>;
}

/** The variables by which the edge finds a mesh of one process. */
export function variablesOf(mesh: TestMesh, authorizationPort: number): Record<string, string> {
  const services = ["cache", "checkpoint", "ratelimit", "rag", "agent"];
  return {
    RAGENTS_METRICS_PORT: mesh.probes.split(":")[1]!,
    RAGENTS_GATEWAY_ADDRESS: new URL(mesh.url).host,
    RAGENTS_AUTHORIZATION_ADDRESS: `127.0.0.1:${authorizationPort}`,
    ...Object.fromEntries(services.map((name) => [`RAGENTS_${name.toUpperCase()}_ADDRESS`, mesh.addressOf(name)])),
  };
}

/** Starts the edge in front of what `variables` name; resolves when it serves. */
export async function startEdgeProcess(variables: Record<string, string>, dataDir: string): Promise<EdgeProcess> {
  const [edge, probes, admin] = [await freePort(), await freePort(), await freePort()];
  const child = spawn(process.execPath, ["--import", "tsx", "gateway/envoy/main.ts"], {
    cwd: packageRoot,
    env: cleanEnv({
      RAGENTS_ENVOY: (await envoyProgram())!,
      RAGENTS_DATA_DIR: dataDir,
      RAGENTS_EDGE_PORT: String(edge),
      RAGENTS_EDGE_PROBES_PORT: String(probes),
      RAGENTS_EDGE_ADMIN_PORT: String(admin),
      RAGENTS_EDGE_DRAIN_SECONDS: "1",
      ...variables,
    }),
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  const ended = once(child, "close");
  const serves = new Promise<void>((resolve, reject) => {
    const collect = (chunk: Buffer) => {
      output += chunk;
      if (output.includes("Envoy serves")) resolve();
    };
    child.stdout.on("data", collect);
    child.stderr.on("data", collect);
    void ended.then(() => reject(new Error(`the edge has ended: ${output}`)));
  });
  await serves;
  return {
    address: `127.0.0.1:${edge}`,
    admin: `http://127.0.0.1:${admin}`,
    ca: readFileSync(join(dataDir, "edge", "ca.pem")),
    output: () => output,
    restart: () => void child.kill("SIGHUP"),
    async stop() {
      child.kill("SIGTERM");
      await ended;
    },
  };
}
