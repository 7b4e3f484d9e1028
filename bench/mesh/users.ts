import { Agent, request } from "node:http";
import { json } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";
import { seededRandom, zipfMix } from "./question-mix.js";

/** What the users' process is told, as JSON on stdin. */
export interface UserPlan {
  readonly url: string;
  readonly questions: readonly string[];
  readonly exponent: number;
  readonly users: number;
  /** Mean time between an answer and the same user's next question, exponential, in milliseconds; 0 for none. */
  readonly thinkMs: number;
  /** Questions a second instead of users that wait for answers. */
  readonly perSecond?: number;
  readonly warmUpMs: number;
  readonly measuredMs: number;
  readonly bypassCache: boolean;
  readonly seed: number;
}

/** What it measured, as one line of JSON on stdout. */
export interface UserReport {
  /** Of those answered, in milliseconds, sorted. */
  readonly latencies: number[];
  readonly cached: number;
  /** By HTTP status, or "failed" without one. */
  readonly errors: Record<string, number>;
  /** Times to a refusal (429 or 503), in milliseconds, sorted. */
  readonly refusals: number[];
  /** Refusals that said when to come again. */
  readonly refusalsWithDelay: number;
  readonly seconds: number;
}

const plan = (await json(process.stdin)) as UserPlan;
const random = seededRandom(plan.seed);
const mix = zipfMix(plan.questions, plan.exponent, random);
const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY });
const ask = new URL("/query", plan.url);

const latencies: number[] = [];
const refusals: number[] = [];
const errors: Record<string, number> = {};
let cached = 0;
let refusalsWithDelay = 0;
let measuring = false;
let running = true;

function post(query: string): Promise<{ status: number; body: string; retryAfter: boolean }> {
  const body = JSON.stringify({ query, ...(plan.bypassCache && { config_overrides: { bypass_cache: true } }) });
  return new Promise((resolve, reject) => {
    const call = request(ask, { method: "POST", agent, headers: { "content-type": "application/json", "content-length": Buffer.byteLength(body) } }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => (text += chunk));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body: text, retryAfter: response.headers["retry-after"] !== undefined || text.includes("RetryInfo") }));
      response.on("error", reject);
    });
    call.on("error", reject);
    call.end(body);
  });
}

async function askOnce(): Promise<void> {
  const counted = measuring;
  const started = performance.now();
  const answer = await post(mix.next()).catch(() => undefined);
  if (!counted) return;
  const ms = performance.now() - started;
  if (answer?.status === 200) {
    latencies.push(ms);
    if ((JSON.parse(answer.body) as { metadata: { cached?: boolean } }).metadata.cached === true) cached += 1;
    return;
  }
  const what = answer === undefined ? "failed" : String(answer.status);
  errors[what] = (errors[what] ?? 0) + 1;
  if (answer?.status !== 429 && answer?.status !== 503) return;
  refusals.push(ms);
  if (answer.retryAfter) refusalsWithDelay += 1;
}

async function user(): Promise<void> {
  const think = () => (plan.thinkMs === 0 ? 0 : -Math.log(1 - random()) * plan.thinkMs);
  // Not all at the same moment.
  await delay(random() * Math.min(plan.thinkMs, plan.warmUpMs));
  while (running) {
    await askOnce();
    const pause = think();
    if (pause > 0 && running) await delay(pause);
  }
}

/** Asks at a steady rate, whether answers come or not. */
async function crowd(perSecond: number): Promise<void> {
  const waiting = new Set<Promise<void>>();
  const started = performance.now();
  for (let n = 0; running; n += 1) {
    const due = started + (n * 1_000) / perSecond - performance.now();
    if (due > 1) await delay(due);
    const one = askOnce().finally(() => waiting.delete(one));
    waiting.add(one);
  }
  await Promise.all(waiting);
}

const work = plan.perSecond === undefined ? Promise.all(Array.from({ length: plan.users }, user)) : crowd(plan.perSecond);
await delay(plan.warmUpMs);
measuring = true;
const started = performance.now();
await delay(plan.measuredMs);
measuring = false;
const seconds = (performance.now() - started) / 1_000;
running = false;
// Those under way have been counted for: their answers are waited for, within reason.
await Promise.race([work, delay(30_000)]);
const ascending = (a: number, b: number) => a - b;
const report: UserReport = { latencies: latencies.sort(ascending), refusals: refusals.sort(ascending), errors, cached, refusalsWithDelay, seconds };
process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit(0));
