import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { build } from "vite";
import type { TestBrowser } from "../servers/chromium.js";

export type Protocol = "connect" | "grpc-web";

/** A web site with one page, whose program is browser-page.ts. */
export interface PageServer {
  readonly origin: string;
  close(): void;
}

/** The page's program as one script, as a bundler makes it for browsers. */
async function bundle(): Promise<string> {
  const built = await build({
    configFile: false,
    logLevel: "silent",
    build: { write: false, lib: { entry: join(import.meta.dirname, "browser-page.ts"), formats: ["es"] } },
  });
  const [{ output }] = built as unknown as { output: { code: string }[] }[] as [{ output: { code: string }[] }];
  return output[0]!.code;
}

/** Serves the page on loopback. */
export async function startPages(): Promise<PageServer> {
  const script = await bundle();
  const pages = createServer((request, response) => {
    const isScript = request.url === "/page.js";
    response.writeHead(200, { "content-type": isScript ? "text/javascript" : "text/html" });
    response.end(isScript ? script : '<!doctype html><title>page</title><script type="module" src="/page.js"></script>');
  });
  await new Promise<void>((resolve) => pages.listen(0, "127.0.0.1", resolve));
  const origin = `http://127.0.0.1:${(pages.address() as AddressInfo).port}`;
  return { origin, close: () => pages.close() };
}

/** Has the page of `origin` list, stream and fail at a mesh; resolves to what it saw. */
export async function tryMeshIn(
  browser: TestBrowser,
  origin: string,
  { url, protocol, apiKey }: { url: string; protocol: Protocol; apiKey?: string },
): Promise<Record<string, unknown>> {
  const page = await browser.context.newPage();
  await page.goto(origin);
  await page.waitForFunction("globalThis.tryMesh !== undefined");
  return page.evaluate(`tryMesh(${JSON.stringify(url)}, ${JSON.stringify(protocol)}, ${JSON.stringify(apiKey)})`);
}
