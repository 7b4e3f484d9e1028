import { runService } from "../../runtime/service.js";
import { startRateLimitService } from "./service.js";

await runService("ratelimit", startRateLimitService);
