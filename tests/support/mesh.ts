import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { launch, type LocalMesh } from "../../launcher/launch.js";
import { cleanEnv, FREE_PORTS } from "./program.js";

/** A mesh in this process, on free ports and a data folder of its own. */
export interface TestMesh {
  /** The gateway's URL. */
  readonly url: string;
  /** host:port of /metrics. */
  readonly probes: string;
  /** host:port of a service's gRPC server. */
  addressOf(service: string): string;
  /** What REST answers: status, parsed body, headers. */
  rest(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<RestAnswer>;
  stop(): Promise<void>;
}

export interface RestAnswer {
  status: number;
  body: any;
  headers: Headers;
}

/** Starts a mesh as `npm start` does, without a process of its own. */
export async function startTestMesh(variables: Record<string, string> = {}): Promise<TestMesh> {
  const data = mkdtempSync(join(tmpdir(), "ragents-mesh-"));
  const env = cleanEnv({ ...FREE_PORTS, RAGENTS_DATA_DIR: data, RAGENTS_PROCESS_METRICS: "false", ...variables });
  const mesh: LocalMesh = await launch(env);
  const addressOf = (name: string) => mesh.services.find((service) => service.name === name)!.address;
  const url = `http://${addressOf("gateway")}`;
  return {
    url,
    probes: mesh.probes,
    addressOf,
    async rest(method, path, body, headers = {}) {
      const text = typeof body === "string" ? body : body === undefined ? undefined : JSON.stringify(body);
      const response = await fetch(url + path, {
        method,
        headers: { ...(text === undefined ? {} : { "content-type": "application/json" }), ...headers },
        ...(text === undefined ? {} : { body: text }),
      });
      const answer = await response.text();
      return { status: response.status, body: answer === "" ? undefined : parse(answer), headers: response.headers };
    },
    async stop() {
      await mesh.stop();
      rmSync(data, { recursive: true, force: true });
    },
  };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Waits until an ingestion job has ended and returns it. */
export async function jobEnd(mesh: TestMesh, job: string, headers: Record<string, string> = {}) {
  for (let i = 0; i < 600; i += 1) {
    const { body } = await mesh.rest("GET", `/v1/jobs/${job}`, undefined, headers);
    if (["SUCCEEDED", "FAILED", "CANCELLED"].includes(body.state)) return body;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`job ${job} has not ended within 30 s`);
}
