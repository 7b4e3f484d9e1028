// Users who ask, wait for the answer, think, and ask again. README.md says how to run it.
import { check, sleep } from "k6";
import http from "k6/http";
import { Rate, Trend } from "k6/metrics";
import { SharedArray } from "k6/data";

const URL = __ENV.RAGENTS_API_URL || "http://127.0.0.1:8080";
const KEY = __ENV.RAGENTS_API_KEY || "";
const USERS = Number(__ENV.USERS || 20);
const THINK_S = Number(__ENV.THINK_S || 5);
const EXPONENT = Number(__ENV.EXPONENT || 1.1);

export const options = {
  scenarios: {
    // A tenth of the time to come, so that users do not ask in step.
    people: { executor: "ramping-vus", stages: [{ duration: __ENV.RAMP || "10s", target: USERS }, { duration: __ENV.DURATION || "60s", target: USERS }], gracefulStop: "30s" },
  },
  thresholds: { checks: ["rate>0.999"] },
};

const cached = new Rate("answers_from_cache");
const inMesh = new Trend("mesh_processing_time", true);

/** The judged questions of bench/data, then some about every heading of its documents: the order is the rank. */
const questions = new SharedArray("questions", () => {
  const lines = (file) => open(`../data/${file}`).trim().split("\n").map((line) => JSON.parse(line));
  const headings = lines("documents.jsonl").flatMap(({ text }) => [...text.matchAll(/^#+ (.+)$/gm)].map((match) => match[1]));
  const forms = ["What is said about %?", "How does % work?", "When is % used?", "Which limits does % have?", "What must be configured for %?"];
  const asked = lines("questions.jsonl").map(({ question }) => question);
  return [...new Set([...asked, ...forms.flatMap((form) => headings.map((heading) => form.replace("%", heading)))])];
});

/** Zipf's law: the question at rank r is asked with a weight of 1 / r^EXPONENT. */
const cumulative = [];
for (let rank = 0, sum = 0; rank < questions.length; rank += 1) cumulative.push((sum += 1 / (rank + 1) ** EXPONENT));

function nextQuestion() {
  const at = Math.random() * cumulative[cumulative.length - 1];
  let [low, high] = [0, cumulative.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (cumulative[middle] < at) low = middle + 1;
    else high = middle;
  }
  return questions[low];
}

export default function () {
  const headers = { "content-type": "application/json", ...(KEY && { authorization: `Bearer ${KEY}` }) };
  const response = http.post(`${URL}/query`, JSON.stringify({ query: nextQuestion() }), { headers, timeout: "300s" });
  if (check(response, { "is answered": ({ status }) => status === 200 })) {
    const answer = response.json();
    cached.add(answer.metadata.cached);
    inMesh.add(answer.processing_time * 1000);
  }
  sleep(-Math.log(1 - Math.random()) * THINK_S);
}
