import {
  AIMessage,
  AIMessageChunk,
  BaseMessage,
  ChatMessage,
  ChatMessageChunk,
  FunctionMessage,
  FunctionMessageChunk,
  HumanMessage,
  HumanMessageChunk,
  RemoveMessage,
  SystemMessage,
  SystemMessageChunk,
  ToolMessage,
  ToolMessageChunk,
} from "@langchain/core/messages";

type MessageClass = new (fields: never) => BaseMessage;

/** All that is ever constructed, beside plain data. */
const CLASSES: ReadonlyMap<string, MessageClass> = new Map<string, MessageClass>([
  ["AIMessage", AIMessage],
  ["AIMessageChunk", AIMessageChunk],
  ["ChatMessage", ChatMessage],
  ["ChatMessageChunk", ChatMessageChunk],
  ["FunctionMessage", FunctionMessage],
  ["FunctionMessageChunk", FunctionMessageChunk],
  ["HumanMessage", HumanMessage],
  ["HumanMessageChunk", HumanMessageChunk],
  ["RemoveMessage", RemoveMessage],
  ["SystemMessage", SystemMessage],
  ["SystemMessageChunk", SystemMessageChunk],
  ["ToolMessage", ToolMessage],
  ["ToolMessageChunk", ToolMessageChunk],
]);

const CLASS_OF_TYPE: Readonly<Record<string, string>> = {
  ai: "AIMessage",
  function: "FunctionMessage",
  generic: "ChatMessage",
  human: "HumanMessage",
  remove: "RemoveMessage",
  system: "SystemMessage",
  tool: "ToolMessage",
};

const FIELDS = [
  "id",
  "name",
  "content",
  "additional_kwargs",
  "response_metadata",
  "tool_calls",
  "invalid_tool_calls",
  "tool_call_chunks",
  "usage_metadata",
  "tool_call_id",
  "artifact",
  "status",
  "metadata",
  "role",
] as const;
/** Made anew from the content. */
const DERIVED_FIELDS: ReadonlySet<string> = new Set([...FIELDS, "contentBlocks"]);

/** A message as its class's name and the fields that make it again. */
export interface MessageRecord {
  class: string;
  fields: Record<string, unknown>;
}

/** The record of a message of @langchain/core, of any copy of that package; undefined for any other value. */
export function messageRecord(value: object): MessageRecord | undefined {
  const name = messageClass(value);
  if (name === undefined) return undefined;
  const fields: Record<string, unknown> = {};
  everyField(value, (key, part) => {
    fields[key] = part;
    return true;
  });
  return { class: name, fields };
}

/** The class that a message's record names; undefined for a value that is no message. */
export function messageClass(value: object): string | undefined {
  if (!BaseMessage.isInstance(value)) return undefined;
  const own = (value.constructor as { lc_name?: () => string }).lc_name?.() ?? "";
  // A class derived from one of ours comes back as that one.
  return CLASSES.has(own) ? own : CLASS_OF_TYPE[value.type];
}

/** Gives `visit` the fields of a message's record, without making it; ends with false when it answers false. */
export function everyField(value: object, visit: (key: string, part: unknown) => boolean): boolean {
  const message = value as BaseMessage & Record<string, unknown>;
  const rawToolCalls = message.additional_kwargs?.tool_calls !== undefined;
  for (const field of FIELDS) {
    const part = message[field];
    // Without its own list, a message would make one from the provider's raw tool calls.
    if (part === undefined || (isEmpty(part) && !(rawToolCalls && field === "tool_calls"))) continue;
    if (!visit(field, part)) return false;
  }
  const given = (message.lc_kwargs ?? {}) as Record<string, unknown>;
  for (const key of Object.keys(given)) {
    if (DERIVED_FIELDS.has(key) || given[key] === undefined) continue;
    if (!visit(key, key in message ? message[key] : given[key])) return false;
  }
  return true;
}

/** The message of a record; undefined when it does not make one. */
export function messageOf(record: { class?: unknown; fields?: unknown }): BaseMessage | undefined {
  const make = typeof record.class === "string" ? CLASSES.get(record.class) : undefined;
  if (make === undefined || typeof record.fields !== "object" || record.fields === null) return undefined;
  try {
    return new make({ content: "", ...record.fields } as never);
  } catch {
    return undefined;
  }
}

/** Classes fill empty lists and objects in by themselves. */
function isEmpty(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  for (const _ in value) return false;
  return Array.isArray(value) ? value.length === 0 : Object.getPrototypeOf(value) === Object.prototype;
}
