import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A trace, span or score as it came over the wire. */
export type OpikRecord = Record<string, unknown> & { id: string };

/** What the double does with a request. */
export type OpikBehaviour = "take" | "hang" | { status: number; retryAfterS?: number };

export interface OpikDouble {
  /** For OPIK_URL_OVERRIDE. */
  readonly url: string;
  /** What was taken, in order; a record that is taken twice is here twice. */
  readonly traces: OpikRecord[];
  readonly spans: OpikRecord[];
  readonly scores: OpikRecord[];
  /** Requests that came, taken or not. */
  requests: number;
  /** The `authorization` and `comet-workspace` headers of the last request. */
  headers: { authorization: string | undefined; workspace: string | undefined };
  /** What happens to requests from now on. */
  behave: (records: readonly OpikRecord[]) => OpikBehaviour;
  /** Closes the server and every connection. */
  stop(): Promise<void>;
  /** Listens again where it listened before. */
  restart(): Promise<void>;
}

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const SPAN_TYPES = ["general", "tool", "llm", "guardrail"];

/** Opik's ingestion API on loopback. Like the real one it refuses a batch whole when one of its records is malformed. */
export async function startOpikDouble(): Promise<OpikDouble> {
  const server = createServer((request, response) => {
    answer(request, response).catch(() => response.destroy());
  });
  const listen = (port: number) => new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  await listen(0);
  const { port } = server.address() as AddressInfo;
  const double: OpikDouble = {
    url: `http://127.0.0.1:${port}/api`,
    traces: [],
    spans: [],
    scores: [],
    requests: 0,
    headers: { authorization: undefined, workspace: undefined },
    behave: () => "take",
    stop() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      return closed;
    },
    restart: () => listen(port),
  };

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = JSON.parse(await textOf(request)) as Record<string, OpikRecord[]>;
    double.requests += 1;
    double.headers = { authorization: request.headers.authorization, workspace: String(request.headers["comet-workspace"]) };
    const [records, taken, problem] = read(`${request.method} ${request.url}`, body);
    if (problem !== undefined) return void response.writeHead(400).end(JSON.stringify({ errors: [problem] }));
    const behaviour = double.behave(records);
    if (behaviour === "hang") return;
    if (behaviour === "take") {
      taken.push(...records);
      return void response.writeHead(204).end();
    }
    const retryAfter = behaviour.retryAfterS === undefined ? {} : { "retry-after": String(behaviour.retryAfterS) };
    response.writeHead(behaviour.status, retryAfter).end("{}");
  }

  function read(route: string, body: Record<string, OpikRecord[]>): [records: OpikRecord[], taken: OpikRecord[], problem?: string] {
    switch (route) {
      case "POST /api/v1/private/traces/batch":
        return [body["traces"]!, double.traces, body["traces"]!.map(problemOf).find(Boolean)];
      case "POST /api/v1/private/spans/batch":
        return [body["spans"]!, double.spans, body["spans"]!.map(spanProblem).find(Boolean)];
      case "PUT /api/v1/private/traces/feedback-scores":
        return [body["scores"]!, double.scores, body["scores"]!.map(scoreProblem).find(Boolean)];
      default:
        return [[], [], `no route ${route}`];
    }
  }
  return double;
}

function problemOf(record: OpikRecord): string | undefined {
  if (!UUID_V7.test(record.id)) return "id must be a version 7 UUID";
  if (Number.isNaN(Date.parse(String(record["start_time"])))) return "start_time is required";
  return Date.parse(String(record["end_time"])) < Date.parse(String(record["start_time"])) ? "end_time is before start_time" : undefined;
}

function spanProblem(record: OpikRecord): string | undefined {
  if (!UUID_V7.test(String(record["trace_id"]))) return "trace_id must be a version 7 UUID";
  if (record["parent_span_id"] !== undefined && !UUID_V7.test(String(record["parent_span_id"]))) return "parent_span_id must be a version 7 UUID";
  return SPAN_TYPES.includes(String(record["type"])) ? problemOf(record) : "type is unknown";
}

function scoreProblem({ id, name, value, source }: OpikRecord): string | undefined {
  return UUID_V7.test(id) && typeof name === "string" && typeof value === "number" && source === "sdk" ? undefined : "a score is malformed";
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of request.setEncoding("utf8")) text += chunk as string;
  return text;
}
