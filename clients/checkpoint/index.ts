export { type LeaseOptions, ThreadLease } from "./lease.js";
export { GrpcCheckpointSaver, type GrpcCheckpointSaverOptions } from "./saver.js";
export type { ThreadSummary } from "./thread-summary.js";
