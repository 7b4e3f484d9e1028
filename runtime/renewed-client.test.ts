import { Client, credentials, Metadata, Server, ServerCredentials } from "@grpc/grpc-js";
import { expect, onTestFinished, test } from "vitest";
import { RenewedClient } from "./renewed-client.js";

const PATH = "/test.Echo/Echo";
const same = (bytes: Buffer) => bytes;
const method = { path: PATH, requestStream: false, responseStream: false, requestSerialize: same, requestDeserialize: same, responseSerialize: same, responseDeserialize: same } as const;

/** A server that answers with the caller's address, once it may. */
async function startServer() {
  const server = new Server();
  let release = () => {};
  const released = new Promise<void>((resolve) => (release = resolve));
  server.addService({ echo: method }, {
    echo: async (call: { request: Buffer; getPeer(): string }, answer: (error: null, bytes: Buffer) => void) => {
      if (call.request.toString() === "wait") await released;
      answer(null, Buffer.from(call.getPeer()));
    },
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) => (error === null ? resolve(bound) : reject(error)));
  });
  onTestFinished(() => server.forceShutdown());
  return { address: `127.0.0.1:${port}`, release };
}

test("calls go to a new connection after a minute, and those under way end on the one that they began on", async () => {
  const { address, release } = await startServer();
  let now = 0;
  const opened: Client[] = [];
  const client = new RenewedClient(() => {
    const made = new Client(address, credentials.createInsecure(), { "grpc.use_local_subchannel_pool": 1 });
    opened.push(made);
    return made;
  }, () => now);
  onTestFinished(() => client.close());
  const call = (text: string) =>
    new Promise<string>((resolve, reject) => {
      client.current.makeUnaryRequest(PATH, same, same, Buffer.from(text), new Metadata(), {}, (error, answer) => (error === null ? resolve(String(answer)) : reject(error)));
    });

  const first = await call("now");
  now = 49_999;
  expect(await call("now")).toBe(first);
  const slow = call("wait");
  now = 60_000;
  // Begins on the old connection while the new one is made.
  expect(await call("now")).toBe(first);
  await expect.poll(() => call("now")).not.toBe(first);
  const second = await call("now");
  now = 70_000;
  // The first connection is left here, with a call under way.
  expect(await call("now")).toBe(second);
  expect(() => opened[0]!.getChannel().createCall(PATH, Date.now(), null, null, null)).toThrow(/shut down/);
  release();
  expect(await slow).toBe(first);
  expect(opened).toHaveLength(2);
  // A client that nobody used meanwhile does not count on its old connection.
  now = 200_000;
  expect(await call("now")).not.toBe(second);
});

test("calls stay on the old connection while there is no new one", async () => {
  const { address } = await startServer();
  let now = 0;
  let target = address;
  const client = new RenewedClient(() => new Client(target, credentials.createInsecure(), { "grpc.use_local_subchannel_pool": 1 }), () => now);
  onTestFinished(() => client.close());
  const old = client.current;
  target = "127.0.0.1:1";
  now = 60_000;
  for (let i = 0; i < 20; i += 1) {
    expect(client.current).toBe(old);
    await new Promise((resolve) => setImmediate(resolve));
  }
});
