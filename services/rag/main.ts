import { runService } from "../../runtime/service.js";
import { startRagService } from "./service.js";

await runService("rag", startRagService);
