import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { promisify } from "node:util";
import { parseAllDocuments } from "yaml";
import { packageRoot } from "../../runtime/package-root.js";
import { findProgram, skipSuites } from "../servers/find-program.js";

/** A Kubernetes object, as far as the tests look into it. */
export interface Manifest {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string; labels?: Record<string, string> };
  /** Its shape is the kind's own. */
  spec?: any;
  data?: Record<string, string>;
}

const folder = join(packageRoot, "k8s");

const MODULE = "sigs.k8s.io/kustomize/kustomize/v5@v5.7.1";
const REMEDY = `install kubectl, kustomize or Go (for go install ${MODULE}).`;

/** Whether manifests can be rendered here; says how to make it possible when not. Fails with CI=true where Go could build kustomize and did not. */
export async function rendererFound(): Promise<boolean> {
  if ((await renderer()) !== undefined) return true;
  if ((await findProgram("go")) !== undefined) return skipSuites("kustomize", REMEDY);
  console.warn(`Skipped: kustomize is not available: ${REMEDY}`);
  return false;
}

/** All objects of an overlay with components. Rejects with the renderer's own words. */
export async function render(overlay: string, components: readonly string[] = []): Promise<Manifest[]> {
  const [program, ...args] = (await renderer())!;
  // Inside of k8s/: kustomize takes components by relative paths only.
  const combination = await mkdtemp(join(folder, ".rendered-"));
  try {
    const path = (...names: string[]) => relative(combination, join(folder, ...names));
    const kustomization = {
      apiVersion: "kustomize.config.k8s.io/v1beta1",
      kind: "Kustomization",
      resources: [path("overlays", overlay)],
      components: components.map((name) => path("components", name)),
    };
    await writeFile(join(combination, "kustomization.yaml"), JSON.stringify(kustomization));
    const { stdout } = await promisify(execFile)(program!, [...args, combination], { maxBuffer: 64 * 1024 * 1024 });
    return parseAllDocuments(stdout).map((document) => document.toJS() as Manifest);
  } finally {
    await rm(combination, { recursive: true });
  }
}

let found: Promise<string[] | undefined> | undefined;

function renderer(): Promise<string[] | undefined> {
  found ??= (async () => {
    const kustomize = await findProgram("kustomize");
    if (kustomize !== undefined) return [kustomize, "build"];
    const kubectl = await findProgram("kubectl");
    if (kubectl !== undefined) return [kubectl, "kustomize"];
    const built = await buildKustomize();
    return built === undefined ? undefined : [built, "build"];
  })();
  return found;
}

/** Builds kustomize once, in some minutes, where there is Go. */
async function buildKustomize(): Promise<string | undefined> {
  const folder = join(packageRoot, "node_modules", ".cache", "kustomize");
  const earlier = await findProgram("kustomize", [folder]);
  const go = await findProgram("go");
  if (earlier !== undefined || go === undefined) return earlier;
  await promisify(execFile)(go, ["install", MODULE], { env: { ...process.env, GOBIN: folder }, timeout: 600_000 }).catch((error: Error) =>
    console.warn(`go install ${MODULE}: ${error.message}`),
  );
  return findProgram("kustomize", [folder]);
}
