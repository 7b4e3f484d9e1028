export {
  type AcquireOptions,
  type Acquired,
  type CheckOptions,
  type ProcessOptions,
  type RateLimitDecision,
  RateLimiter,
  type RateLimiterOptions,
  type RequestPriority,
} from "./rate-limiter.js";
