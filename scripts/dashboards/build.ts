import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../../runtime/package-root.js";
import { toGrafana } from "./dashboard.js";
import { dashboards } from "./definitions.js";

// Writes Grafana's files: npm run dashboards
for (const dashboard of dashboards) {
  const path = join(packageRoot, "k8s", "components", "monitoring", "dashboards", `${dashboard.uid}.json`);
  writeFileSync(path, `${JSON.stringify(toGrafana(dashboard), null, 2)}\n`);
}
