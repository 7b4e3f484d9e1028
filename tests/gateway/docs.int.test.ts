import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { chromiumFound, startChromium, type TestBrowser } from "../servers/chromium.js";
import { startTestMesh, type TestMesh } from "../support/mesh.js";

let mesh: TestMesh;
beforeAll(async () => {
  mesh = await startTestMesh();
});
afterAll(() => mesh?.stop());

describe.skipIf(!(await chromiumFound()))("the page /docs in a browser", () => {
  let browser: TestBrowser;
  beforeAll(async () => {
    browser = await startChromium();
  });
  afterAll(() => browser?.close());

  test("shows the API, breaks no rule of its policy, and calls what it shows", async () => {
    const page = await browser.context.newPage();
    const problems: string[] = [];
    const hosts = new Set<string>();
    page.on("console", (message) => {
      if (message.type() === "error") problems.push(message.text());
    });
    page.on("pageerror", (error) => problems.push(String(error)));
    page.on("request", (request) => {
      if (!request.url().startsWith("data:")) hosts.add(new URL(request.url()).host);
    });
    await page.goto(`${mesh.url}/docs`);
    await page.getByRole("heading", { name: /RAGents Mesh/ }).waitFor();
    expect(await page.locator(".opblock").count()).toBeGreaterThan(20);
    await page.locator("#operations-Gateway-GatewayService_GetHealth .opblock-summary-control").click();
    await page.getByRole("button", { name: "Try it out" }).click();
    await page.getByRole("button", { name: "Execute" }).click();
    const answer = page.locator(".live-responses-table .response-col_description pre").first();
    await answer.waitFor();
    expect(await answer.textContent()).toContain('"status": "healthy"');
    expect(problems).toEqual([]);
    expect([...hosts]).toEqual([new URL(mesh.url).host]);
  });
});

test("the page is small on the wire and is not sent twice", async () => {
  const first = await fetch(`${mesh.url}/docs/swagger-ui-bundle.js`);
  expect(first.headers.get("content-encoding")).toBe("gzip");
  expect((await first.text()).length).toBeGreaterThan(1_000_000);
  const again = await fetch(`${mesh.url}/docs/swagger-ui-bundle.js`, { headers: { "if-none-match": first.headers.get("etag")! } });
  expect(again.status).toBe(304);
});

test.each([
  ["GET", "/docs/", 308],
  ["GET", "/docs/../gateway/config.ts", 404],
  ["GET", "/docs/none.js", 404],
  ["GET", "/docs/constructor", 404],
  ["HEAD", "/docs", 200],
  ["POST", "/docs", 405],
])("%s %s is %i", async (method, path, status) => {
  const answer = await fetch(mesh.url + path, { method, redirect: "manual" });
  expect(answer.status).toBe(status);
  await answer.text();
});

test("the policy allows nothing from elsewhere and nothing inline", async () => {
  const policy = (await fetch(`${mesh.url}/docs`)).headers.get("content-security-policy")!;
  expect(policy).toContain("default-src 'none'");
  expect(policy).not.toMatch(/unsafe|http|\*/);
});
