import { describe, expect, test } from "vitest";
import { startRestServer } from "./testdata/rest-server.js";
import { testService } from "./testdata/transcoding.js";

const messaging = testService("Messaging");

/** Every RPC answers its own request: the answer shows what the HTTP request was turned into. */
const echo = Object.fromEntries(messaging.methods.map((method) => [method.localName, (request: unknown) => request]));

describe("the examples in google/api/http.proto", async () => {
  const rest = await startRestServer((router) => router.service(messaging, echo as object));
  test.each([
    { http: "GET /v1/messages/123456", request: { name: "messages/123456" } },
    {
      http: "GET /v2/messages/123456?revision=2&sub.subfield=foo",
      request: { message_id: "123456", revision: 2, sub: { subfield: "foo" } },
    },
    { http: "GET /v2/messages/123456", request: { message_id: "123456", revision: 0 } },
    {
      http: "PATCH /v3/messages/123456",
      body: { text: "Hi!" },
      request: { message_id: "123456", message: { message_id: "", text: "Hi!" } },
    },
    { http: "PATCH /v4/messages/123456", body: { text: "Hi!" }, request: { message_id: "123456", text: "Hi!" } },
    { http: "GET /v5/messages/123456", request: { message_id: "123456", user_id: "" } },
    { http: "GET /v5/users/me/messages/123456", request: { message_id: "123456", user_id: "me" } },
    { http: "GET /v6/messages/123/foo", request: { message_id: "123", revision: 0, sub: { subfield: "foo" } } },
  ])("$http", async ({ http, body, request }) => {
    const [method, target] = http.split(" ") as [string, string];
    const answer = await rest.ask(method, target, { body });
    expect(answer.json).toEqual(request);
    expect(answer.status).toBe(200);
  });
});
