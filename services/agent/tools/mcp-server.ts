import { type Connection, MultiServerMCPClient } from "@langchain/mcp-adapters";

/** A tool as its server describes it. */
export type McpTool = Awaited<ReturnType<MultiServerMCPClient["getTools"]>>[number];

/** How a server is reached: a process of ours over stdio, or a URL. */
export type McpServerOptions =
  | { command: string; args: string[]; env?: Record<string, string> | undefined; cwd?: string | undefined }
  | { url: string; headers?: Record<string, string> | undefined };

/** One MCP server, connected when it is first needed and again after it has gone. */
export class McpServer {
  readonly name: string;
  readonly #connection: Connection;
  #client: Promise<{ client: MultiServerMCPClient; tools: McpTool[] }> | undefined;

  constructor(name: string, options: McpServerOptions) {
    this.name = name;
    const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
    this.#connection = { ...given, transport: "command" in options ? "stdio" : "http" } as Connection;
  }

  /** The server's tools. Rejects when it cannot be reached. */
  async tools(): Promise<McpTool[]> {
    this.#client ??= this.#connect();
    return (await this.#client).tools;
  }

  /** Calls a tool. Rejects with what the server says; the next call after a failure of the connection connects anew. */
  async call(name: string, args: object, signal: AbortSignal): Promise<unknown> {
    const tool = (await this.tools().catch((error: unknown) => this.#lost(error))).find((one) => one.name === name);
    if (tool === undefined) throw new Error(`the server ${this.name} has no tool ${name} any more`);
    return tool.invoke(args, { signal }).catch((error: unknown) => {
      // A call is not made twice: whether the first one was done is not known.
      if (error instanceof Error && /closed|not connected|ECONN|fetch failed|session/i.test(error.message)) return this.#lost(error);
      throw error;
    });
  }

  async close(): Promise<void> {
    const client = this.#client;
    this.#client = undefined;
    await client?.then((connected) => connected.client.close()).catch(() => {});
  }

  async #connect(): Promise<{ client: MultiServerMCPClient; tools: McpTool[] }> {
    const client = new MultiServerMCPClient({ mcpServers: { [this.name]: this.#connection }, throwOnLoadError: true });
    try {
      return { client, tools: await client.getTools() };
    } catch (error) {
      await client.close().catch(() => {});
      throw error;
    }
  }

  async #lost(error: unknown): Promise<never> {
    await this.close();
    throw error;
  }
}
