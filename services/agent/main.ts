import { runService } from "../../runtime/service.js";
import { startAgentService } from "./service.js";

await runService("agent", startAgentService);
