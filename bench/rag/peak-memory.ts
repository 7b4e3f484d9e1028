/**
 * A process of its own that ingests a folder and prints the most memory that it had, in MB:
 *   peak-memory.ts ours FOLDER STORE-URL
 *   peak-memory.ts peer FOLDER
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { LangChainPipeline } from "./langchain.js";
import { startBenchService, untilSearchable } from "./service.js";

const [side, folder = "", url = ""] = process.argv.slice(2);
if (side === "ours") {
  const { rag, stop } = await startBenchService(url, { RAGENTS_INGEST_ROOTS: folder });
  await rag.createCollection({ id: "large" });
  const { job } = await rag.ingestDocuments({ collection: "large", path: folder });
  await untilSearchable(rag, job);
  await rag.retrieve({ collection: "large", query: "How often does a checkpoint happen?" });
  await stop();
} else {
  const pipeline = await LangChainPipeline.withBuiltIn();
  for (const name of readdirSync(folder)) {
    await pipeline.ingest([{ id: name, mime_type: "text/plain", text: readFileSync(join(folder, name), "utf8") }]);
  }
  await pipeline.search("How often does a checkpoint happen?", 5);
}
process.stdout.write(`${process.resourceUsage().maxRSS / 1024}\n`);
process.exit(0);
