import type { FastifyInstance } from "fastify";
import type { Transcoder } from "./transcoder.js";

/**
 * Mounts a transcoder in fastify for every path that no other route answers. Register it as a plugin, so that what it
 * does to body parsing stays inside: the transcoder reads bodies itself. Headers set on the reply by hooks are kept.
 */
export async function transcoderPlugin(
  app: FastifyInstance,
  { transcoder }: { transcoder: Transcoder },
): Promise<void> {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", (_request, _payload, done) => done(null));
  app.all("/*", async (request, reply) => {
    for (const [name, value] of Object.entries(reply.getHeaders())) {
      if (value !== undefined) reply.raw.setHeader(name, value);
    }
    reply.hijack();
    await transcoder.handle(request.raw, reply.raw);
  });
}
