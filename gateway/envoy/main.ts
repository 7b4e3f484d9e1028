import { fail } from "../../runtime/service.js";
import { untilSignalled } from "../../runtime/shutdown.js";
import { loadEdgeConfig } from "./config.js";
import { startEdge } from "./edge.js";

try {
  const edge = await startEdge(loadEdgeConfig(process.env));
  process.stdout.write(`Envoy serves REST, SSE, Connect, gRPC-Web and gRPC at ${edge.url}.\n`);
  if (edge.authority !== undefined) process.stdout.write(`Its certificate is signed by ${edge.authority}: curl --cacert ${edge.authority} ${edge.url}/health\n`);
  process.stdout.write("SIGHUP makes it read its configuration again, without a call lost.\n");
  const restarted = () => process.stdout.write("A new Envoy has taken over.\n");
  process.on("SIGHUP", () => void edge.restart().then(restarted, fail));
  await Promise.race([untilSignalled(), edge.ended]);
  await edge.stop();
  process.exit(0);
} catch (error) {
  fail(error);
}
