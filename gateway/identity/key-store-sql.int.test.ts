import { connect, createServer, type Server } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../runtime/clock.js";
import { silentLogger } from "../../runtime/logger.js";
import { openPostgres } from "../../runtime/sql/postgres.js";
import { freePort } from "../../tests/servers/free-port.js";
import { describePostgres } from "../../tests/servers/postgres.js";
import { openAuthentication } from "./authentication.js";
import { describeKeyStore } from "./key-store.suite.js";

describePostgres("PostgreSQL", (server) => {
  describeKeyStore("API keys on PostgreSQL", async () => openPostgres({ url: server().url }));

  test("a gateway that starts before the database waits for it", async () => {
    const url = new URL(server().url);
    const { hostname: host, port } = url;
    url.port = String(await freePort());
    const doorway: Server = createServer((socket) => socket.pipe(connect(Number(port), host).on("error", () => socket.destroy())).pipe(socket).on("error", () => {}));
    onTestFinished(() => void doorway.close());
    const logger = { ...silentLogger, child: () => logger, warn: (event: string) => event === "waiting_for_store" && doorway.listen(Number(url.port), "127.0.0.1") };
    const authentication = await openAuthentication({ RAGENTS_GATEWAY_URL: url.href }, { logger, clock: systemClock });
    onTestFinished(() => authentication.close());
    expect(doorway.listening).toBe(true);
    expect(authentication.configured).toBe(true);
  });
});

test("a gateway whose database never comes says which variable to look at", async () => {
  const env = { RAGENTS_GATEWAY_URL: `postgres://nobody@127.0.0.1:${await freePort()}/keys`, RAGENTS_STORE_WAIT_S: "0" };
  const opening = openAuthentication(env, { logger: silentLogger, clock: systemClock });
  await expect(opening).rejects.toThrow("cannot reach the database that RAGENTS_GATEWAY_URL names");
});
