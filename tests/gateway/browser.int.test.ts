import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { chromiumFound, startChromium, type TestBrowser } from "../servers/chromium.js";
import { jobEnd, startTestMesh, type TestMesh } from "../support/mesh.js";
import { type PageServer, type Protocol, startPages, tryMeshIn } from "./browser-pages.js";

describe.skipIf(!(await chromiumFound()))("a page of another origin, in a browser", () => {
  let pages: PageServer;
  let mesh: TestMesh;
  let browser: TestBrowser;

  beforeAll(async () => {
    pages = await startPages();
    mesh = await startTestMesh({ RAGENTS_CORS_ORIGINS: pages.origin });
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

  const tryIn = (from: string, protocol: Protocol) => tryMeshIn(browser, from, { url: mesh.url, protocol });

  test.each(["connect", "grpc-web"] as const)("lists, streams and is told what is wrong, by %s", async (protocol) => {
    const { agents, text, response, error } = await tryIn(pages.origin, protocol);
    expect(agents).toContain("simple");
    expect(response).toContain("eels");
    expect(text).toBe(response);
    expect(error).toMatch(/not_found.*none/);
  });

  test("is kept out when its origin is not allowed", async () => {
    await expect(tryIn(pages.origin.replace("127.0.0.1", "localhost"), "connect")).rejects.toThrow(/Failed to fetch|unknown/);
  });
});
