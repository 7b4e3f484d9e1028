import { everyField, messageClass } from "./messages.js";

/**
 * What a value was when it was encoded: its primitives in the order of a walk.
 * Programs may change messages in place, so that the same object need not be
 * the same value; comparing traces finds out at a fraction of what encoding and
 * hashing cost.
 */
export type Trace = readonly unknown[];

/** Larger values are encoded each time. */
const MAX_ITEMS = 256;

const LIST = Symbol("list");
const RECORD = Symbol("record");
const MESSAGE = Symbol("message");
const END = Symbol("end");

/** The trace of plain data and messages; undefined for values with anything else inside, and for large ones. */
export function traceOf(value: unknown): Trace | undefined {
  const trace: unknown[] = [];
  return walk(value, (item) => trace.push(item) <= MAX_ITEMS) ? trace : undefined;
}

/** Whether `value` still is what it was when `trace` was taken. */
export function isUnchanged(value: unknown, trace: Trace): boolean {
  let at = 0;
  const same = walk(value, (item) => Object.is(item, trace[at++]));
  return same && at === trace.length;
}

/** Gives `visit` every item; ends with false when it answers false or the value cannot be traced. */
function walk(value: unknown, visit: (item: unknown) => boolean): boolean {
  if (typeof value !== "object" || value === null) return typeof value !== "function" && visit(value);
  if (Array.isArray(value)) return visit(LIST) && value.every((item) => walk(item, visit)) && visit(END);
  const prototype = Object.getPrototypeOf(value);
  if (prototype === Object.prototype || prototype === null) {
    return typeof (value as { toJSON?: unknown }).toJSON !== "function" && visit(RECORD) && walkRecord(value, visit);
  }
  const message = messageClass(value);
  return message !== undefined && visit(MESSAGE) && visit(message) && everyField(value, (key, part) => visit(key) && walk(part, visit)) && visit(END);
}

function walkRecord(record: object, visit: (item: unknown) => boolean): boolean {
  for (const key of Object.keys(record)) {
    if (!visit(key) || !walk((record as Record<string, unknown>)[key], visit)) return false;
  }
  return visit(END);
}
