import { packageRoot } from "../../runtime/package-root.js";
import { cleanEnv, type Ended, runProgram } from "./program.js";

/** Runs the `ragents` command from its sources, against the gateway at `url`. */
export function ragents(args: string[], options: { url?: string; apiKey?: string } = {}): Promise<Ended> {
  const env = cleanEnv({
    ...(options.url !== undefined && { RAGENTS_API_URL: options.url }),
    ...(options.apiKey !== undefined && { RAGENTS_API_KEY: options.apiKey }),
  });
  return runProgram(process.execPath, ["--import", "tsx", "cli/main.ts", ...args], { cwd: packageRoot, env });
}
