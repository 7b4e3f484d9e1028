import { createServer, get, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { Registry } from "prom-client";
import { expect, onTestFinished, test } from "vitest";
import { systemClock } from "../runtime/clock.js";
import { type HttpMetrics, httpMetrics } from "./http-metrics.js";

async function serve(answer: Parameters<typeof createServer>[1] & {}) {
  const registry = new Registry();
  const metrics = httpMetrics(registry, systemClock);
  const ended: Promise<void>[] = [];
  const server = createServer((request, response) => {
    metrics.observe(request, response);
    ended.push(new Promise((resolve) => response.once("close", resolve)));
    answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const values = async (name: string) => {
    await Promise.all(ended);
    return (await registry.getMetricsAsJSON()).find((metric) => metric.name === name)!.values;
  };
  return { url, metrics: metrics as HttpMetrics, values };
}

test("counts requests by RPC, method and status; what is no RPC is 'other', however many paths there are", async () => {
  const { url, metrics, values } = await serve((request, response) => {
    if (request.url === "/query") metrics.name(request, "ragents.agent.v1.AgentService/Query");
    response.writeHead(request.url === "/query" ? 200 : 404).end();
  });
  await fetch(`${url}/query`, { method: "POST" });
  for (let i = 0; i < 20; i += 1) await fetch(`${url}/${i}?user=${i}`, { method: i % 2 === 0 ? "GET" : "PROPFIND" });
  expect(await values("http_requests_total")).toMatchObject([
    { labels: { rpc: "ragents.agent.v1.AgentService/Query", method: "POST", code: 200 }, value: 1 },
    { labels: { rpc: "other", method: "GET", code: 404 }, value: 10 },
    { labels: { rpc: "other", method: "other", code: 404 }, value: 10 },
  ]);
  expect(await values("http_requests_in_flight")).toMatchObject([{ value: 0 }]);
});

test("counts a client that does not wait as 499", async () => {
  const { url, values } = await serve((_request, response) => void response.write("first "));
  const response = await new Promise<IncomingMessage>((resolve) => get(url, resolve));
  response.destroy();
  expect(await values("http_requests_total")).toMatchObject([{ labels: { code: 499 }, value: 1 }]);
});

test("shows what is expected before it comes, so that the first failure is an increase", async () => {
  const { url, metrics, values } = await serve((request, response) => {
    metrics.name(request, "ragents.agent.v1.AgentService/Query");
    response.writeHead(500).end();
  });
  metrics.expect("ragents.agent.v1.AgentService/Query", "POST");
  const failures = async () => (await values("http_requests_total")).filter(({ labels }) => labels["code"] === 500);
  expect(await failures()).toMatchObject([{ value: 0 }]);
  await fetch(url, { method: "POST" });
  expect(await failures()).toMatchObject([{ value: 1 }]);
});
