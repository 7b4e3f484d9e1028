import type { Dashboard, Panel } from "./dashboard.js";
import { edge } from "./edge.js";
import { NS, one, quantiles, RATE, rate } from "./queries.js";

const FAULTS = 'grpc_code=~"Unknown|Internal|Unavailable|DataLoss|DeadlineExceeded"';

/** What every gRPC service shows of itself. */
function callPanels(service: string): Panel[] {
  const filter = `,grpc_service="${service}"`;
  return [
    { title: "Calls", unit: "reqps", queries: rate("grpc_server_started_total", "grpc_method", filter) },
    {
      title: "Calls that failed by the service's own fault",
      unit: "percentunit",
      queries: one(
        `sum by (grpc_method) (rate(grpc_server_handled_total{${NS}${filter},${FAULTS}}${RATE})) / (sum by (grpc_method) (rate(grpc_server_handled_total{${NS}${filter}}${RATE})) > 0)`,
        "{{grpc_method}}",
      ),
    },
    { title: "Time of a call", unit: "s", queries: quantiles("grpc_server_handling_seconds", "grpc_method", filter) },
    { title: "Calls refused, by code", unit: "reqps", queries: rate("grpc_server_handled_total", "grpc_code", `${filter},grpc_code!="OK"`) },
  ];
}

/** What every process shows of itself; `pods` is a pattern of their names. */
function processPanels(pods: string): Panel[] {
  const filter = `{${NS},pod=~"${pods}"}`;
  return [
    { title: "Processor", unit: "none", queries: one(`sum by (pod) (rate(process_cpu_seconds_total{${NS},pod=~"${pods}"}${RATE}))`, "{{pod}}") },
    {
      title: "Memory",
      unit: "bytes",
      description: "The heap's limit is well below the container's: the rest are buffers and WebAssembly.",
      queries: [...one(`process_resident_memory_bytes${filter}`, "{{pod}} resident"), ...one(`nodejs_heap_size_used_bytes${filter}`, "{{pod}} heap")],
    },
    { title: "Event loop's lag, p99", unit: "s", queries: one(`nodejs_eventloop_lag_p99_seconds${filter}`, "{{pod}}") },
    { title: "Replicas", unit: "none", queries: one(`count(up${filter})`, "scraped") },
  ];
}

const pools = (prefix: string): Panel[] => [
  { title: "Connections to PostgreSQL", unit: "none", queries: one(`sum by (state) (${prefix}_postgres_connections{${NS}})`, "{{state}}") },
  { title: "Queries that wait for a connection", unit: "none", queries: one(`sum by (pod) (${prefix}_postgres_waiting{${NS}})`, "{{pod}}") },
];

const hitRate = `sum by (kind) (rate(cache_hits_total{${NS}}${RATE})) / ((sum by (kind) (rate(cache_hits_total{${NS}}${RATE})) + sum by (kind) (rate(cache_misses_total{${NS}}${RATE}))) > 0)`;

export const dashboards: readonly Dashboard[] = [
  {
    uid: "overview",
    title: "Overview",
    panels: [
      { title: "Requests", unit: "reqps", queries: rate("http_requests_total", "code") },
      { title: "Requests that failed", unit: "percentunit", description: "The objective is 0.1 %.", queries: one(`slo:http_failures:ratio_rate5m{${NS}}`, "5 minutes") },
      { title: "Time of a question", unit: "s", queries: quantiles("http_request_duration_seconds", "rpc", ',rpc=~"ragents.agent.v1.*"') },
      { title: "Calls of each service", unit: "reqps", queries: one(`service:grpc_calls:rate5m{${NS}}`, "{{grpc_service}}") },
      { title: "Faults of each service", unit: "reqps", queries: one(`service:grpc_faults:rate5m{${NS}}`, "{{grpc_service}}") },
      { title: "p95 of each service's calls", unit: "s", queries: one(`service:grpc_handling_seconds:p95_5m{${NS}}`, "{{grpc_service}}") },
      { title: "Runs under way, and room for them", unit: "none", queries: [...one(`sum(agent_runs_in_flight{${NS}})`, "runs"), ...one(`sum(agent_runs_limit{${NS}})`, "limit")] },
      { title: "Cache hits", unit: "percentunit", queries: one(`cache:lookups:hit_ratio_rate30m{${NS}}`, "30 minutes") },
      { title: "Ingestion jobs", unit: "none", queries: [...one(`max(rag_jobs_queued{${NS}})`, "waiting"), ...one(`max(rag_jobs_running{${NS}})`, "under way")] },
      { title: "Replicas", unit: "none", queries: one(`count by (service) (up{${NS}})`, "{{service}}") },
    ],
  },
  edge,
  {
    uid: "gateway",
    title: "Gateway",
    panels: [
      { title: "Requests by RPC", unit: "reqps", queries: rate("http_requests_total", "rpc") },
      { title: "Requests by status", unit: "reqps", queries: rate("http_requests_total", "code") },
      { title: "Time of a request", unit: "s", queries: quantiles("http_request_duration_seconds", "rpc") },
      { title: "Requests under way", unit: "none", queries: one(`sum by (pod) (http_requests_in_flight{${NS}})`, "{{pod}}") },
      ...processPanels("gateway-.*"),
    ],
  },
  {
    uid: "agent",
    title: "Agent",
    panels: [
      ...callPanels("ragents.agent.v1.AgentService"),
      { title: "Runs under way", unit: "none", queries: [...one(`agent_runs_in_flight{${NS}}`, "{{pod}}"), ...one(`max(agent_runs_limit{${NS}})`, "limit of each")] },
      { title: "Look-ups in the cache, as callers see them", unit: "reqps", queries: rate("ragents_cache_client_lookups_total", "result") },
      { title: "Look-ups in one request", unit: "none", queries: quantiles("batch_size", "batch", ',batch="cache_lookups"') },
      ...processPanels("agent-.*"),
    ],
  },
  {
    uid: "rag",
    title: "Rag: retrieval and ingestion",
    panels: [
      ...callPanels("ragents.rag.v1.RagService"),
      { title: "Time of a retrieval", unit: "s", queries: quantiles("rag_retrieval_seconds", "mode") },
      { title: "Loaded indexes", unit: "bytes", queries: one(`rag_index_bytes{${NS}}`, "{{pod}}") },
      { title: "Jobs of the mesh", unit: "none", queries: [...one(`max(rag_jobs_queued{${NS}})`, "waiting"), ...one(`max(rag_jobs_running{${NS}})`, "under way")] },
      { title: "Age of the oldest waiting job", unit: "s", queries: one(`max(rag_oldest_queued_job_seconds{${NS}})`, "oldest") },
      { title: "Jobs that ended", unit: "ops", queries: rate("rag_jobs_finished_total", "state") },
      { title: "Documents", unit: "ops", queries: rate("rag_documents_total", "outcome") },
      { title: "Chunks made searchable", unit: "ops", queries: rate("rag_chunks_indexed_total", "pod") },
      ...pools("rag"),
      ...processPanels("rag-.*"),
    ],
  },
  {
    uid: "cache",
    title: "Cache",
    panels: [
      ...callPanels("ragents.cache.v1.CacheService"),
      { title: "Hits", unit: "reqps", queries: rate("cache_hits_total", "kind") },
      { title: "Misses", unit: "reqps", queries: rate("cache_misses_total", "kind") },
      { title: "Share of hits", unit: "percentunit", queries: one(hitRate, "{{kind}}") },
      ...processPanels("cache-.*"),
    ],
  },
  {
    uid: "checkpoint",
    title: "Checkpoint",
    panels: [
      ...callPanels("ragents.checkpoint.v1.CheckpointService"),
      { title: "Puts", unit: "ops", queries: rate("checkpoint_puts_total", "pod") },
      { title: "Bytes stored", unit: "Bps", queries: rate("checkpoint_stored_bytes_total", "pod") },
      { title: "Active threads", unit: "none", queries: one(`sum(checkpoint_active_threads{${NS}})`, "within 5 minutes") },
      ...pools("checkpoint"),
      ...processPanels("checkpoint-.*"),
    ],
  },
  {
    uid: "ratelimit",
    title: "Rate limit and queues",
    panels: [
      ...callPanels("ragents.ratelimit.v1.RateLimitService"),
      { title: "Decisions", unit: "ops", queries: rate("ratelimit_decisions_total", "outcome") },
      { title: "Operations in one script", unit: "none", queries: quantiles("batch_size", "batch", ',batch="ratelimit_decisions"') },
      { title: "Items that wait", unit: "none", queries: one(`max by (queue, priority) (ratelimit_queue_depth{${NS}})`, "{{queue}} {{priority}}") },
      { title: "Age of the oldest item", unit: "s", queries: one(`max by (queue, priority) (ratelimit_queue_oldest_age_seconds{${NS}})`, "{{queue}} {{priority}}") },
      { title: "Items that workers hold", unit: "none", queries: one(`max by (queue) (ratelimit_queue_in_flight{${NS}})`, "{{queue}}") },
      ...processPanels("ratelimit-.*"),
    ],
  },
  {
    uid: "models",
    title: "Language models: cost",
    panels: [
      { title: "Dollars an hour", unit: "currencyUSD", queries: one(`sum by (model) (rate(llm_cost_dollars_total{${NS}}${RATE})) * 3600`, "{{model}}") },
      { title: "Dollars of 24 hours", unit: "currencyUSD", queries: one(`sum by (model) (increase(llm_cost_dollars_total{${NS}}[24h]))`, "{{model}}") },
      { title: "Dollars a thousand requests", unit: "currencyUSD", queries: one(`1000 * sum by (model) (rate(llm_cost_dollars_total{${NS}}${RATE})) / (sum by (model) (rate(llm_requests_total{${NS}}${RATE})) > 0)`, "{{model}}") },
      { title: "Tokens", unit: "ops", queries: one(`sum by (model, direction) (rate(llm_tokens_total{${NS}}${RATE}))`, "{{model}} {{direction}}") },
      { title: "Requests", unit: "reqps", queries: one(`sum by (model, outcome) (rate(llm_requests_total{${NS}}${RATE}))`, "{{model}} {{outcome}}") },
      { title: "Time to the first text", unit: "s", queries: quantiles("llm_first_token_seconds", "model") },
      { title: "Time of a reply", unit: "s", queries: quantiles("llm_request_duration_seconds", "model") },
      { title: "Citations that a model made up", unit: "ops", queries: rate("llm_invented_citations_total", "model") },
    ],
  },
];
