import { openPglite } from "../../runtime/sql/pglite.js";
import { sqlBackend } from "./backend.js";
import { describeSaver } from "./saver.suite.js";

describeSaver("the saver on PGlite", async () => sqlBackend(await openPglite()));
