import { runService } from "../runtime/service.js";
import { startGatewayService } from "./service.js";

await runService("gateway", startGatewayService);
