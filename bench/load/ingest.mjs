// Uploads the documents of bench/data that the load scripts ask about: node bench/load/ingest.mjs [URL] [KEY]
import { readFileSync } from "node:fs";

const [url = process.env.RAGENTS_API_URL ?? "http://127.0.0.1:8080", key = process.env.RAGENTS_API_KEY] = process.argv.slice(2);
const headers = { "content-type": "application/json", ...(key && { authorization: `Bearer ${key}` }) };
const documents = readFileSync(new URL("../data/documents.jsonl", import.meta.url), "utf8").trim().split("\n").map((line) => JSON.parse(line));

async function call(path, init) {
  const response = await fetch(`${url}${path}`, { headers, ...init });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return response.json();
}

for (let first = 0; first < documents.length; first += 50) {
  const body = JSON.stringify({ documents: documents.slice(first, first + 50) });
  let job = await call("/v1/collections/default/documents:ingest", { method: "POST", body });
  while (job.state === "QUEUED" || job.state === "RUNNING") {
    await new Promise((resolve) => setTimeout(resolve, 200));
    job = await call(`/v1/jobs/${job.id}`);
  }
  if (job.state !== "SUCCEEDED") throw new Error(`the job ${job.id} ended ${job.state}`);
}
console.log(`${documents.length} documents can be asked about`);
