import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type RestServer, startRestServer } from "./testdata/rest-server.js";
import { testService } from "./testdata/transcoding.js";
import { createTranscoder } from "./transcoder.js";

const library = testService("Library");
const name = "shelves/1/books/2";
const mounted = (router: Parameters<Parameters<typeof startRestServer>[0]>[0]) =>
  router.service(library, { getBook: () => ({ book: { name } }), deleteBook: () => ({}) } as object);

let rest: RestServer;
beforeAll(async () => {
  rest = await startRestServer(mounted);
});
afterAll(() => rest[Symbol.asyncDispose]());

describe("OPTIONS and CORS", () => {
  const origin = "https://app.example.com";
  const preflight = {
    origin,
    "access-control-request-method": "PUT",
    "access-control-request-headers": "content-type",
  };
  const cors = { allowedOrigins: [origin], exposedHeaders: ["x-request-id"], maxAgeSeconds: 60 };

  test("OPTIONS lists the methods of a path", async () => {
    const answer = await rest.ask("OPTIONS", `/v1/${name}`);
    expect([answer.status, answer.headers.allow]).toEqual([204, "DELETE, GET, HEAD, OPTIONS, PUT"]);
    expect((await rest.ask("OPTIONS", "/v1/nowhere")).status).toBe(404);
  });

  test("a preflight of an allowed origin is granted, of another one is not", async () => {
    await using server = await startRestServer(mounted, { cors });
    const granted = await server.ask("OPTIONS", `/v1/${name}`, { headers: preflight });
    expect(granted.headers).toMatchObject({
      "access-control-allow-origin": origin,
      "access-control-allow-methods": "DELETE, GET, HEAD, OPTIONS, PUT",
      "access-control-allow-headers": "content-type",
      "access-control-max-age": "60",
      vary: "Origin, Access-Control-Request-Headers",
    });
    const refused = await server.ask("OPTIONS", `/v1/${name}`, {
      headers: { ...preflight, origin: "https://evil.example" },
    });
    expect(refused.headers["access-control-allow-origin"]).toBeUndefined();
    expect(refused.headers["access-control-allow-methods"]).toBeUndefined();
  });

  test("answers and errors to an allowed origin can be read by its pages", async () => {
    await using server = await startRestServer(mounted, { cors });
    for (const target of [`/v1/${name}`, "/v1/nowhere"]) {
      const answer = await server.ask("GET", target, { headers: { origin } });
      expect(answer.headers).toMatchObject({
        "access-control-allow-origin": origin,
        "access-control-expose-headers": "x-request-id",
      });
      expect(answer.headers.vary).toContain("Origin");
    }
  });

  test("a page of our own origin may write", async () => {
    const own = { origin: `http://127.0.0.1:${rest.port}` };
    expect((await rest.ask("DELETE", `/v1/${name}`, { headers: own })).status).toBe(200);
  });

  test("every origin can be allowed, but not with credentials", async () => {
    await using server = await startRestServer(mounted, { cors: { allowedOrigins: ["*"] } });
    const answer = await server.ask("DELETE", `/v1/${name}`, { headers: { origin: "https://any.example" } });
    expect([answer.status, answer.headers["access-control-allow-origin"]]).toEqual([200, "*"]);
    const both = { allowedOrigins: ["*"], allowCredentials: true };
    expect(() =>
      createTranscoder({ services: [library], transport: () => ({}) as never, errorDomain: "test", cors: both }),
    ).toThrow('credentials cannot be allowed for the origin "*"');
  });
});

test("a page of another origin may not write, and its body is not even read", async () => {
  for (const origin of ["https://evil.example", "null", `https://127.0.0.1:${rest.port + 1}`]) {
    const answer = await rest.ask("DELETE", `/v1/${name}`, { headers: { origin } });
    expect([answer.status, answer.json.details[0].reason]).toEqual([403, "ORIGIN_NOT_ALLOWED"]);
  }
});

test("a page of another origin may ask for reads and preflights, but browsers hide the answers from it", async () => {
  for (const method of ["GET", "OPTIONS"]) {
    const answer = await rest.ask(method, `/v1/${name}`, { headers: { origin: "https://evil.example" } });
    expect(answer.status).toBeLessThan(300);
    expect(answer.headers["access-control-allow-origin"]).toBeUndefined();
  }
});
