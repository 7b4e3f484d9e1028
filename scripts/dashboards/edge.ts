import type { Dashboard } from "./dashboard.js";
import { NS, one, quantiles, rate } from "./queries.js";

/** Not the listener that answers probes. */
const EDGE = ',envoy_http_conn_manager_prefix="edge"';
/** Not the admin interface, which is behind that listener. */
const SERVICES = ',envoy_cluster_name!="admin"';
const CLUSTER = "envoy_cluster_name";

const now = (metric: string, by: string, filter: string) => one(`sum by (${by}) (${metric}{${NS}${filter}})`, `{{${by}}}`);

/** What Envoy shows of itself: of callers in front of it, of the services behind it. Its times are in milliseconds. */
export const edge: Dashboard = {
  uid: "envoy",
  title: "Envoy: the edge",
  panels: [
    { title: "Requests", unit: "reqps", queries: rate("envoy_http_downstream_rq_total", "pod", EDGE) },
    { title: "Answers by class", unit: "reqps", queries: rate("envoy_http_downstream_rq_xx", "envoy_response_code_class", EDGE) },
    { title: "Time of a request", unit: "ms", description: "Streams count for as long as they are read.", queries: quantiles("envoy_http_downstream_rq_time", "pod", EDGE) },
    { title: "Connections of callers", unit: "none", queries: now("envoy_http_downstream_cx_active", "pod", EDGE) },
    { title: "Requests under way", unit: "none", queries: now("envoy_http_downstream_rq_active", "pod", EDGE) },
    { title: "Requests to each service", unit: "reqps", queries: rate("envoy_cluster_upstream_rq_total", CLUSTER, SERVICES) },
    { title: "Answers of each service, by class", unit: "reqps", queries: rate("envoy_cluster_upstream_rq_xx", `${CLUSTER}, envoy_response_code_class`, SERVICES) },
    { title: "Time until a service has answered", unit: "ms", queries: quantiles("envoy_cluster_upstream_rq_time", CLUSTER, SERVICES) },
    {
      title: "Requests that were tried again",
      unit: "reqps",
      description: "At another replica. Many while pods are replaced are no failure; many at other times are a service that breaks off.",
      queries: rate("envoy_cluster_upstream_rq_retry", CLUSTER, SERVICES),
    },
    {
      title: "Replicas: known and healthy",
      unit: "none",
      queries: [
        ...one(`max by (${CLUSTER}) (envoy_cluster_membership_total{${NS}${SERVICES}})`, `{{${CLUSTER}}} known`),
        ...one(`min by (${CLUSTER}) (envoy_cluster_membership_healthy{${NS}${SERVICES}})`, `{{${CLUSTER}}} healthy`),
      ],
    },
    { title: "Replicas left out because they fail", unit: "none", queries: one(`max by (${CLUSTER}) (envoy_cluster_outlier_detection_ejections_active{${NS}${SERVICES}})`, `{{${CLUSTER}}}`) },
    { title: "Refused by a circuit breaker", unit: "reqps", queries: rate("envoy_cluster_upstream_rq_pending_overflow", CLUSTER, SERVICES) },
    { title: "Callers let in", unit: "reqps", queries: rate("envoy_cluster_ext_authz_ok", CLUSTER) },
    { title: "Memory of Envoy's own", unit: "bytes", description: "From 90 % of 384 MiB it gives memory back, at 98 % it takes no more requests.", queries: one(`envoy_server_memory_allocated{${NS}}`, "{{pod}}") },
    { title: "Replicas of Envoy", unit: "none", queries: one(`count(envoy_server_live{${NS}})`, "live") },
  ],
};
