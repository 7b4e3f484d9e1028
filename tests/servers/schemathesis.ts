import { join } from "node:path";
import { findProgram } from "./find-program.js";
import { pythonEnvironment } from "./python-environment.js";

const PACKAGE = "schemathesis==4.32.5";
/** How to have it where it cannot be installed by itself. */
export const SCHEMATHESIS_REMEDY = `run "pip install ${PACKAGE}", or set RAGENTS_TEST_SCHEMATHESIS to the program's path.`;

let program: Promise<string | undefined> | undefined;

/** The path of schemathesis, which is made ready for all later runs of this user's tests; undefined when it cannot be had. */
export function findSchemathesis(): Promise<string | undefined> {
  program ??= (async () => process.env["RAGENTS_TEST_SCHEMATHESIS"] || (await findProgram("schemathesis")) || (await install()))();
  return program;
}

async function install(): Promise<string | undefined> {
  const folder = await pythonEnvironment([PACKAGE]);
  return folder && join(folder, "bin", "schemathesis");
}
