import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { build } from "vite";
import { chromiumFound, startChromium, type TestBrowser } from "../servers/chromium.js";
import { jobEnd, startTestMesh, type TestMesh } from "../support/mesh.js";

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

describe.skipIf(!(await chromiumFound()))("a page of another origin, in a browser", () => {
  let pages: Server;
  let origin: string;
  let mesh: TestMesh;
  let browser: TestBrowser;

  beforeAll(async () => {
    const script = await bundle();
    pages = createServer((request, response) => {
      const isScript = request.url === "/page.js";
      response.writeHead(200, { "content-type": isScript ? "text/javascript" : "text/html" });
      response.end(isScript ? script : '<!doctype html><title>page</title><script type="module" src="/page.js"></script>');
    });
    await new Promise<void>((resolve) => pages.listen(0, "127.0.0.1", resolve));
    origin = `http://127.0.0.1:${(pages.address() as AddressInfo).port}`;
    mesh = await startTestMesh({ RAGENTS_CORS_ORIGINS: origin });
    const { body } = await mesh.rest("POST", "/v1/collections/default/documents:ingest", {
      documents: [{ id: "otter", text: "The otter lives in a holt by the river and eats eels." }],
    });
    await jobEnd(mesh, body.id);
    browser = await startChromium();
  });
  afterAll(async () => {
    await browser?.close();
    await mesh?.stop();
    pages?.close();
  });

  const tryIn = async (from: string, protocol: string) => {
    const page = await browser.context.newPage();
    await page.goto(from);
    await page.waitForFunction("globalThis.tryMesh !== undefined");
    return page.evaluate(`tryMesh(${JSON.stringify(mesh.url)}, ${JSON.stringify(protocol)})`) as Promise<Record<string, unknown>>;
  };

  test.each(["connect", "grpc-web"])("lists, streams and is told what is wrong, by %s", async (protocol) => {
    const { agents, text, response, error } = await tryIn(origin, protocol);
    expect(agents).toContain("simple");
    expect(response).toContain("eels");
    expect(text).toBe(response);
    expect(error).toMatch(/not_found.*none/);
  });

  test("is kept out when its origin is not allowed", async () => {
    await expect(tryIn(origin.replace("127.0.0.1", "localhost"), "connect")).rejects.toThrow(/Failed to fetch|unknown/);
  });
});
