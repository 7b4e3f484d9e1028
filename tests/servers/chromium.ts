import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BrowserContext, chromium } from "playwright-core";
import { findProgram, installDebianPackage, skipSuites } from "./find-program.js";

/** A browser for tests, with a profile of its own. */
export interface TestBrowser {
  readonly context: BrowserContext;
  close(): Promise<void>;
}

const ADDRESS_VARIABLE = "RAGENTS_TEST_CHROMIUM";
const NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
const REMEDY = `install chromium or Chrome, or set ${ADDRESS_VARIABLE} to the program's path.`;

let program: Promise<string | undefined> | undefined;

function findChromium(): Promise<string | undefined> {
  program ??= (async () => {
    const given = process.env[ADDRESS_VARIABLE];
    if (given) return given;
    for (const name of NAMES) {
      const path = await findProgram(name);
      if (path !== undefined) return path;
    }
    return (await installDebianPackage("chromium")) ? findProgram("chromium") : undefined;
  })();
  return program;
}

/** Whether suites that need a browser can run; says how to make them run when not. */
export async function chromiumFound(): Promise<boolean> {
  return (await findChromium()) !== undefined || skipSuites("Chromium", REMEDY);
}

/**
 * Starts a headless Chromium that reaches nothing by itself.
 * @param trustedKeys SHA-256 of public keys, in base64, whose certificates it trusts whoever signed them
 */
export async function startChromium({ trustedKeys = [] }: { trustedKeys?: readonly string[] } = {}): Promise<TestBrowser> {
  const executablePath = await findChromium();
  if (executablePath === undefined) throw new Error(`Chromium is not available: ${REMEDY}`);
  const profile = await mkdtemp(join(tmpdir(), "ragents-chromium-"));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath,
    headless: true,
    // Its sandbox does not start for root.
    args: [
      "--no-sandbox",
      "--disable-background-networking",
      "--disable-dev-shm-usage",
      ...(trustedKeys.length > 0 ? [`--ignore-certificate-errors-spki-list=${trustedKeys.join(",")}`] : []),
    ],
  });
  return {
    context,
    async close() {
      await context.close();
      await rm(profile, { recursive: true, force: true });
    },
  };
}
