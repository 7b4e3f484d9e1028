import { openPglite } from "../../runtime/sql/pglite.js";
import { describeKeyStore } from "./key-store.suite.js";

describeKeyStore("API keys on PGlite", () => openPglite());
