import { ErrorReason } from "../../gen/ragents/errors/v1/errors_pb.js";
import { invalidField } from "../../runtime/errors.js";

const DEFAULT_PAGE_SIZE = 50;

/** A list's page as the store reads it: one item more than asked for tells whether there is another page. */
export function pageOf<A>(request: { pageSize: number; pageToken: string }, isPosition: (value: unknown) => value is A): { after?: A; limit: number } {
  const limit = (request.pageSize || DEFAULT_PAGE_SIZE) + 1;
  if (request.pageToken === "") return { limit };
  let position: unknown;
  try {
    position = JSON.parse(Buffer.from(request.pageToken, "base64url").toString());
  } catch {
    position = undefined;
  }
  if (!isPosition(position)) {
    throw invalidField("page_token", "is not one that this list handed out; start without one", ErrorReason.INVALID_PAGE_TOKEN);
  }
  return { after: position, limit };
}

/** The page's items, and the token of the next page. */
export function takePage<T>(items: readonly T[], limit: number, positionOf: (item: T) => unknown): { items: T[]; nextPageToken: string } {
  const page = items.slice(0, limit - 1);
  const last = page.at(-1);
  const more = items.length === limit && last !== undefined;
  return { items: page, nextPageToken: more ? Buffer.from(JSON.stringify(positionOf(last))).toString("base64url") : "" };
}

export function isId(value: unknown): value is string {
  return typeof value === "string" && !value.includes("\0");
}

/** A place in a list by time, then id. */
export function isTimeAndId(value: unknown): value is [number, string] {
  return Array.isArray(value) && value.length === 2 && Number.isSafeInteger(value[0]) && Math.abs(value[0]) < 8.64e15 && isId(value[1]);
}
