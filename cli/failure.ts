import { Code, ConnectError } from "@connectrpc/connect";

/** Tells the user what went wrong and what to do, on stderr. Returns the exit code. */
export function report(error: unknown, url: string): number {
  process.stderr.write(`${explain(error, url)}\n`);
  return 1;
}

function explain(error: unknown, url: string): string {
  if (error instanceof ConnectError) {
    const refused = (error.cause as NodeJS.ErrnoException | undefined)?.code === "ECONNREFUSED" || /ECONNREFUSED/.test(error.message);
    if (refused) return `No mesh answers at ${url}. Start one with \`npm start\`, or name another with --url or RAGENTS_API_URL.`;
    if (error.code === Code.Unauthenticated) return `${error.rawMessage} These commands read it from RAGENTS_API_KEY.`;
    return error.code === Code.Unknown ? error.rawMessage : `${Code[error.code]}: ${error.rawMessage}`;
  }
  return error instanceof Error ? error.message : String(error);
}
