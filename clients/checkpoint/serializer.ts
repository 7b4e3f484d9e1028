import type { SerializerProtocol } from "@langchain/langgraph-checkpoint";
import { decode, encode } from "./codec.js";

/** LangGraph's view of our encoding, for programs that ask a saver for its serializer. */
export const jsonSerializer: SerializerProtocol = {
  async dumpsTyped(data) {
    return data instanceof Uint8Array ? ["bytes", data] : ["json", Buffer.from(encode(data))];
  },
  async loadsTyped(type, data) {
    if (type === "bytes") return typeof data === "string" ? Buffer.from(data) : data;
    if (type !== "json") throw new Error(`a value is encoded as "${type}", which this client does not read`);
    return decode(typeof data === "string" ? data : Buffer.from(data).toString());
  },
};
