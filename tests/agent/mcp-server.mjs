// A real MCP server over stdio, for the tests.
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
import { z } from "zod";

const server = new McpServer({ name: "plant", version: "1.0.0" });

server.registerTool(
  "read_gauge",
  { description: "Reads a gauge of the plant, in bar.", inputSchema: { gauge: z.string().min(1) } },
  async ({ gauge }) => {
    if (gauge === "broken") throw new Error("the gauge is broken");
    return { content: [{ type: "text", text: `${gauge} shows 4.2 bar` }] };
  },
);
server.registerTool("exit", { description: "Ends the server.", inputSchema: {} }, async () => process.exit(1));
server.registerTool("open_valve", { description: "Opens a valve.", inputSchema: { valve: z.string() } }, async ({ valve }) => ({
  content: [{ type: "text", text: `${valve} is open` }],
}));

await server.connect(new StdioServerTransport());
