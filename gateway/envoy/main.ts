import { fail } from "../../runtime/service.js";
import { untilSignalled } from "../../runtime/shutdown.js";
import { loadEdgeConfig } from "./config.js";
import { type Edge, startEdge } from "./edge.js";

const say = (text: string) => process.stdout.write(`${text}\n`);

async function takeOver(edge: Edge): Promise<void> {
  try {
    const { drained } = await edge.restart();
    say("A new Envoy has taken over; the old one has time for its last calls.");
    await drained;
    say("The old Envoy has ended.");
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  }
}

try {
  const edge = await startEdge(loadEdgeConfig(process.env));
  say(`Envoy serves REST, SSE, Connect, gRPC-Web and gRPC at ${edge.url}.`);
  if (edge.authority !== undefined) say(`Its certificate is signed by ${edge.authority}: curl --cacert ${edge.authority} ${edge.url}/health`);
  say(`kill -HUP ${process.pid} makes it read its configuration again, without a call lost.`);
  process.on("SIGHUP", () => void takeOver(edge));
  await Promise.race([untilSignalled(), edge.ended]).finally(edge.stop);
  process.exit(0);
} catch (error) {
  fail(error);
}
