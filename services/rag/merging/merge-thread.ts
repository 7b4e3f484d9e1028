import { parentPort, workerData } from "node:worker_threads";
import { type MergeBlob, mergeHere } from "./merge-blobs.js";

const merged = mergeHere(workerData as MergeBlob[]);
parentPort?.postMessage(merged, [merged.bytes.buffer as ArrayBuffer]);
