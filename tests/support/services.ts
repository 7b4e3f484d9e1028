import { readdirSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { DescFile, DescService } from "@bufbuild/protobuf";
import { packageRoot } from "../../runtime/package-root.js";

/** Every service of ours, found in the generated code: a new one cannot be forgotten. */
export async function allServices(): Promise<DescService[]> {
  const folder = join(packageRoot, "gen", "ragents");
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith("_service_pb.ts"));
  const modules = await Promise.all(files.map((name) => import(pathToFileURL(join(folder, name)).href) as Promise<Record<string, unknown>>));
  return modules.flatMap((module) =>
    Object.entries(module).flatMap(([name, value]) => (name.startsWith("file_") ? (value as DescFile).services : [])),
  );
}
