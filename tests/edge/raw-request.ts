import { request } from "node:https";
import { connect, type TLSSocket } from "node:tls";

/** What the edge answered. */
export interface Answer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  text: string;
}

export interface RequestOptions {
  method?: string;
  headers?: Record<string, string>;
  body?: string | Buffer;
}

/** Makes requests by HTTP/1.1 over TLS, each with a connection of its own and the path exactly as given. */
export function requests(address: string, ca: Buffer): (path: string, options?: RequestOptions) => Promise<Answer> {
  const [host, port] = address.split(":");
  return (path, { method = "GET", headers = {}, body } = {}) =>
    new Promise((resolve, reject) => {
      const sent = request({ host, port, ca, path, method, headers, agent: false }, (response) => {
        let text = "";
        response.on("data", (chunk) => (text += chunk));
        response.on("end", () => resolve({ status: response.statusCode!, headers: response.headers, text }));
        response.on("error", reject);
      });
      sent.on("error", reject);
      sent.end(body);
    });
}

/** Opens a TLS connection that speaks HTTP/1.1. */
export async function openTls(address: string, ca: Buffer): Promise<TLSSocket> {
  const [host, port] = address.split(":");
  const socket = connect({ host: host!, port: Number(port), ca, ALPNProtocols: ["http/1.1"] });
  await new Promise<void>((resolve, reject) => {
    socket.once("secureConnect", resolve);
    socket.once("error", reject);
  });
  return socket;
}

/** Sends bytes as they are; resolves to all that came back until the other side closed, or after `waitMs`. */
export async function exchange(address: string, ca: Buffer, bytes: string, waitMs = 15_000): Promise<{ text: string; closed: boolean }> {
  const socket = await openTls(address, ca);
  let text = "";
  return new Promise((resolve) => {
    const settle = (closed: boolean) => {
      clearTimeout(patience);
      socket.destroy();
      resolve({ text, closed });
    };
    const patience = setTimeout(() => settle(false), waitMs);
    socket.on("data", (chunk: Buffer) => (text += chunk));
    socket.once("close", () => settle(true));
    socket.once("error", () => settle(true));
    socket.write(bytes);
  });
}
