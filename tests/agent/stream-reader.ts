import type { ResumeStreamResponse, StreamQueryResponse, StreamResumeRunResponse } from "../../gen/ragents/agent/v1/agent_service_pb.js";

/** Reads a stream of events to its end, and sorts them. */
export async function readStream<Event extends StreamQueryResponse | ResumeStreamResponse | StreamResumeRunResponse>(stream: AsyncIterable<Event>) {
  const events: Event[] = [];
  for await (const event of stream) events.push(event);
  const last = events.at(-1)?.event;
  return {
    events,
    cases: events.map(({ event }) => event.case),
    steps: events.flatMap(({ event }) => (event.case === "step" ? [event.value] : [])),
    text: events.map(({ event }) => (event.case === "token" ? event.value.text : "")).join(""),
    citations: events.flatMap(({ event }) => (event.case === "citation" ? [event.value] : [])),
    toolResults: events.flatMap(({ event }) => (event.case === "toolResult" ? [event.value] : [])),
    result: last?.case === "result" ? last.value : undefined,
  };
}
