import { describe, expect, test } from "vitest";
import { parseRedisUrl } from "./redis.js";

describe("a Redis URL", () => {
  test.each([
    { url: "redis://cache", nodes: [{ host: "cache", port: 6379 }], cluster: false, tls: false, database: 0 },
    { url: "redis://127.0.0.1:7000/2", nodes: [{ host: "127.0.0.1", port: 7000 }], cluster: false, tls: false, database: 2 },
    { url: "rediss://[::1]:7000/", nodes: [{ host: "::1", port: 7000 }], cluster: false, tls: true, database: 0 },
    {
      url: "redis+cluster://a:1,b:2,c",
      nodes: [
        { host: "a", port: 1 },
        { host: "b", port: 2 },
        { host: "c", port: 6379 },
      ],
      cluster: true,
      tls: false,
      database: 0,
    },
    { url: "rediss+cluster://a:1", nodes: [{ host: "a", port: 1 }], cluster: true, tls: true, database: 0 },
  ])("$url is read", ({ url, ...target }) => expect(parseRedisUrl(url)).toEqual(target));

  test("carries credentials, percent-encoded", () => {
    expect(parseRedisUrl("redis://:p%40ss@h:1")).toMatchObject({ password: "p@ss" });
    expect(parseRedisUrl("redis://me:p:w@h:1")).toMatchObject({ username: "me", password: "p:w" });
  });

  test.each([
    "localhost:6379",
    "http://localhost:6379",
    "redis://",
    "redis://h:70000",
    "redis://h:x",
    "redis://a:1,b:2",
    "redis+cluster://a:1/3",
    "redis://h:1/two",
  ])("%s is refused with the forms that are known", (url) => {
    expect(() => parseRedisUrl(url)).toThrow(/redis\+cluster|database 0/);
  });

  test("is never shown, since it may hold a password", () => {
    expect(() => parseRedisUrl("redis://:secret@h:x")).toThrow(/^(?!.*secret)/);
  });
});
