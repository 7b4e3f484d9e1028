export { ThreadLease } from "./lease.js";
export { GrpcCheckpointSaver, type GrpcCheckpointSaverOptions, type ThreadSummary } from "./saver.js";
