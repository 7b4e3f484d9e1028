import { createRouterTransport } from "@connectrpc/connect";
import { fastify } from "fastify";
import { expect, test } from "vitest";
import { transcoderPlugin } from "./fastify.js";
import { testService } from "./testdata/transcoding.js";
import { createTranscoder } from "./transcoder.js";

const messaging = testService("Messaging");

async function startFastify() {
  const transport = createRouterTransport((router) => {
    router.service(messaging, { updateWhole: (request: unknown) => request } as object);
  });
  const transcoder = createTranscoder({ services: [messaging], transport: () => transport, errorDomain: "test" });
  const app = fastify();
  app.addHook("onRequest", async (_request, reply) => void reply.header("x-request-id", "r1"));
  app.get("/livez", () => "alive");
  app.post("/echo", (request) => request.body);
  await app.register(transcoderPlugin, { transcoder });
  return { app, url: await app.listen({ port: 0, host: "127.0.0.1" }) };
}

test("a transcoder answers beside other routes of fastify, whose bodies are parsed as before", async () => {
  const { app, url } = await startFastify();
  try {
    const body = JSON.stringify({ text: "Hi!" });
    const headers = { "content-type": "application/json" };
    const patched = await fetch(`${url}/v4/messages/7`, { method: "PATCH", headers, body });
    expect(await patched.json()).toEqual({ message_id: "7", text: "Hi!" });
    expect(patched.headers.get("x-request-id")).toBe("r1");
    expect(await (await fetch(`${url}/echo`, { method: "POST", headers, body })).json()).toEqual({ text: "Hi!" });
    expect(await (await fetch(`${url}/livez`)).text()).toBe("alive");
    const unknown = await fetch(`${url}/v9/none`);
    expect([unknown.status, await unknown.json()]).toMatchObject([404, { details: [{ reason: "ROUTE_NOT_FOUND" }] }]);
    const form = await fetch(`${url}/v4/messages/7`, { method: "PATCH", body: new URLSearchParams({ text: "Hi!" }) });
    expect([form.status, await form.json()]).toMatchObject([415, { details: [{ reason: "UNSUPPORTED_MEDIA_TYPE" }] }]);
  } finally {
    await app.close();
  }
});
