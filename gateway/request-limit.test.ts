import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { PassThrough } from "node:stream";
import type { IncomingMessage } from "node:http";
import { expect, test } from "vitest";
import { requestLimit } from "./request-limit.js";
import { readBody } from "./transcoder/request-body.js";

test("requests beyond the limit are refused at once, and let in again when others have ended", async () => {
  const limit = requestLimit(2);
  const open: ServerResponse[] = [];
  const server = createServer((request, response) => {
    if (limit.admit(request, response)) open.push(response);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const held = [fetch(url), fetch(url)];
  await expect.poll(() => open.length).toBe(2);
  const refused = await fetch(url, { method: "POST", body: "x" });
  expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "1"]);
  expect(await refused.json()).toMatchObject({ code: 14, details: [{ reason: "OVERLOADED" }, { retry_delay: "1s" }] });
  open.shift()!.end();
  expect((await held[0])!.status).toBe(200);
  const next = fetch(url);
  await expect.poll(() => open.length).toBe(2);
  for (const response of open) response.end();
  expect((await next).status).toBe(200);
  await Promise.all(held);
  server.close();
});

test("a body that stops coming is given up", async () => {
  const request = Object.assign(new PassThrough(), { headers: {} });
  request.write("{");
  await expect(readBody(request as unknown as IncomingMessage, 100, 20)).rejects.toMatchObject({ status: 408, reason: "BODY_TIMEOUT" });
});
