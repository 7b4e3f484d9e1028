import { type DescMethod, getOption, hasOption } from "@bufbuild/protobuf";
import { begins_trace } from "../../gen/ragents/tracing/v1/tracing_pb.js";

/** Whether a call of an RPC begins a trace where its caller brings none, by its option in the proto. */
export function beginsTrace(method: DescMethod): boolean {
  let begins = known.get(method);
  if (begins === undefined) {
    begins = hasOption(method, begins_trace) && getOption(method, begins_trace);
    known.set(method, begins);
  }
  return begins;
}

/** Reading an option decodes it. */
const known = new WeakMap<DescMethod, boolean>();
