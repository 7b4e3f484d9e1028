import { execFile } from "node:child_process";
import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { packageRoot } from "../../runtime/package-root.js";
import { pythonEnvironment } from "./python-environment.js";

const run = promisify(execFile);

/** The versions that clients/python/README.md was tried with. */
const PACKAGES = ["grpcio==1.85.1", "grpcio-tools==1.85.1", "googleapis-common-protos==1.76.0"];

let environment: Promise<string | undefined> | undefined;

/** A Python that has gRPC; undefined when it cannot be had, saying how. */
export async function pythonWithGrpc(): Promise<string | undefined> {
  const given = process.env["RAGENTS_TEST_PYTHON_GRPC"];
  if (given) return given;
  environment ??= pythonEnvironment(PACKAGES);
  const folder = await environment;
  if (folder !== undefined) return join(folder, "bin", "python");
  // Optional: it comes from another language's registry, and gRPC by other clients is tested beside it.
  console.warn(`Skipped: Python's gRPC is not available: set RAGENTS_TEST_PYTHON_GRPC to a python that has ${PACKAGES.join(", ")}.`);
  return undefined;
}

/** Makes the stubs as clients/python/README.md says. */
export async function makePythonStubs(python: string, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  const files = (await readdir(join(packageRoot, "proto"), { recursive: true })).filter((name) => name.endsWith(".proto"));
  const out = [`--python_out=${folder}`, `--grpc_python_out=${folder}`];
  await run(python, ["-m", "grpc_tools.protoc", "-I", "proto", "-I", "third_party", ...out, ...files, "buf/validate/validate.proto"], { cwd: packageRoot });
}
