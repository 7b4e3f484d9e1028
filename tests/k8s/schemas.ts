import { spawn } from "node:child_process";
import { findProgram } from "../servers/find-program.js";
import type { Manifest } from "./render.js";

/** A folder, or a URL, of the API's JSON schemas in kubeconform's form; where it is not set kubeconform's own place on the web. */
const SCHEMAS = process.env["RAGENTS_TEST_KUBERNETES_SCHEMAS"];
let found: Promise<string | undefined> | undefined;

/**
 * Checks manifests as `kubectl apply --validate=strict` does: unknown fields are failures. Kinds of operators have no schema here and
 * are passed over. Rejects with what is wrong; does nothing, saying so, where kubeconform is not installed.
 */
export async function validate(manifests: readonly Manifest[]): Promise<void> {
  found ??= findProgram("kubeconform").then((path) => {
    if (path === undefined) console.warn("Skipped: kubeconform is not available: put it on the PATH, and the schemas at RAGENTS_TEST_KUBERNETES_SCHEMAS.");
    return path;
  });
  const kubeconform = await found;
  if (kubeconform === undefined) return;
  const location = SCHEMAS === undefined ? "default" : `${SCHEMAS}/{{.ResourceKind}}{{.KindSuffix}}.json`;
  const child = spawn(kubeconform, ["-strict", "-ignore-missing-schemas", "-schema-location", location, "-"], { stdio: ["pipe", "pipe", "inherit"] });
  let out = "";
  child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
  child.stdin.end(manifests.map((manifest) => JSON.stringify(manifest)).join("\n---\n"));
  const code = await new Promise((resolve, reject) => child.once("error", reject).once("close", resolve));
  if (code !== 0) throw new Error(out);
}
