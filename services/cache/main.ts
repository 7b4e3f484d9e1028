import { runService } from "../../runtime/service.js";
import { startCacheService } from "./service.js";

await runService("cache", startCacheService);
