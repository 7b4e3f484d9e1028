export type { BudgetAmounts, BudgetReservation, ReserveOptions } from "./budget-reservation.js";
export type { LimitWindow, RateLimitDecision } from "./decision.js";
export {
  type Acquired,
  type AcquireOptions,
  type CheckOptions,
  type ProcessOptions,
  RateLimiter,
  type RateLimiterOptions,
  type RequestPriority,
} from "./rate-limiter.js";
export { type EnqueueOptions, PriorityQueue, type PriorityQueueOptions, type QueueStats } from "./priority-queue.js";
export type { WorkHandler, WorkItem, WorkOptions } from "./queue-worker.js";
