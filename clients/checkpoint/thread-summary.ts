import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { Thread } from "../../gen/ragents/checkpoint/v1/checkpoint_pb.js";

/** What is known of a thread. */
export interface ThreadSummary {
  threadId: string;
  createdAt: Date;
  updatedAt: Date;
  /** Undefined when the thread is kept for ever. */
  expiresAt: Date | undefined;
  checkpointCount: number;
  /** Bytes of its values as stored, compressed. */
  storedBytes: number;
}

export function toSummary(thread: Thread): ThreadSummary {
  return {
    threadId: thread.threadId,
    createdAt: dateOf(thread.createTime) ?? new Date(0),
    updatedAt: dateOf(thread.updateTime) ?? new Date(0),
    expiresAt: dateOf(thread.expireTime),
    checkpointCount: Number(thread.checkpointCount),
    storedBytes: Number(thread.storedBytes),
  };
}

function dateOf(time: Thread["createTime"]): Date | undefined {
  return time && timestampDate(time);
}
