import { openPglite } from "../../runtime/sql/pglite.js";
import { openClearableStore } from "./sql-stores.js";
import { validateSaver } from "./validation.suite.js";

validateSaver("GrpcCheckpointSaver on PGlite", async () => openClearableStore(await openPglite()));
