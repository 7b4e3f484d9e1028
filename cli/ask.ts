import { toJson } from "@bufbuild/protobuf";
import { AgentService } from "../gen/ragents/agent/v1/agent_service_pb.js";
import type { Citation } from "../gen/ragents/rag/v1/rag_pb.js";
import type { Mesh } from "./connection.js";

/** Asks, prints the answer as it is written, then its sources and the thread to go on with. */
export async function ask(
  { agent }: Mesh,
  query: string,
  options: { collection?: string; thread?: string; agent: string; json?: boolean },
): Promise<void> {
  const request = {
    query,
    agentType: options.agent,
    threadId: options.thread ?? "",
    configOverrides: options.collection === undefined ? {} : { collection: options.collection },
  };
  if (options.json === true) {
    const response = await agent.query(request);
    const json = toJson(AgentService.method.query.output, response, { useProtoFieldName: true, alwaysEmitImplicit: true });
    return print(`${JSON.stringify(json, null, 2)}\n`);
  }
  for await (const { event } of agent.streamQuery(request)) {
    if (event.case === "token") print(event.value.text);
    if (event.case === "result") {
      const { metadata, threadId, processingTime } = event.value;
      print("\n");
      if (metadata !== undefined && metadata.citations.length > 0) print(`\nSources\n${metadata.citations.map(source).join("")}`);
      const origin = metadata?.cached === true ? "from the cache" : `by ${metadata?.model}`;
      print(`\n${(processingTime * 1000).toFixed(1)} ms, ${origin}; go on with --thread ${threadId}\n`);
    }
  }
}

function source({ index, source: name, documentId, start, end }: Citation): string {
  return `  [${index}] ${name || documentId}, characters ${start}-${end}\n`;
}

function print(text: string): void {
  process.stdout.write(text);
}
