import { runService } from "../../runtime/service.js";
import { startCheckpointService } from "./service.js";

await runService("checkpoint", startCheckpointService);
