import type { CheckpointAge } from "./store.js";

/** LangGraph names a subgraph's run "node:task-id", and a lasting subgraph "node". */
const isOneRun = (namespace: string) => namespace.includes(":");

/**
 * The checkpoints of a thread that can go when the newest `keep` of the root
 * namespace, and of each lasting subgraph, stay. A subgraph's run stays as long
 * as the root's checkpoint that it ran under: ids sort by age, so those older
 * than all of the root's that stay can go. Nothing goes that a staying one
 * needs, nor a namespace's newest checkpoint unless it is of a run.
 */
export function chooseDeletable(all: readonly CheckpointAge[], keep: number): CheckpointAge[] {
  const namespaces = new Map<string, CheckpointAge[]>();
  for (const checkpoint of all) {
    const others = namespaces.get(checkpoint.namespace);
    if (others === undefined) namespaces.set(checkpoint.namespace, [checkpoint]);
    else others.push(checkpoint);
  }
  const staying = new Set<CheckpointAge>();
  for (const [namespace, checkpoints] of namespaces) {
    if (isOneRun(namespace)) continue;
    checkpoints.sort(newestFirst);
    for (const checkpoint of checkpoints.slice(0, Math.max(1, keep))) staying.add(checkpoint);
    addNeeded(staying, checkpoints);
  }
  const oldestRoot = namespaces.get("")?.findLast((checkpoint) => staying.has(checkpoint))?.checkpointId;
  for (const [namespace, checkpoints] of namespaces) {
    if (!isOneRun(namespace)) continue;
    for (const checkpoint of checkpoints) {
      if (oldestRoot === undefined || checkpoint.checkpointId > oldestRoot) staying.add(checkpoint);
    }
    addNeeded(staying, checkpoints);
  }
  return all.filter((checkpoint) => !staying.has(checkpoint));
}

function newestFirst(a: CheckpointAge, b: CheckpointAge): number {
  return a.checkpointId < b.checkpointId ? 1 : -1;
}

/** Adds the parents that staying checkpoints of one namespace need, and those that these need. */
function addNeeded(staying: Set<CheckpointAge>, checkpoints: readonly CheckpointAge[]): void {
  const byId = new Map(checkpoints.map((checkpoint) => [checkpoint.checkpointId, checkpoint]));
  for (const checkpoint of checkpoints) {
    let needed = staying.has(checkpoint) ? checkpoint : undefined;
    while (needed?.needsParent === true && needed.parentId !== undefined) {
      needed = byId.get(needed.parentId);
      if (needed === undefined || staying.has(needed)) break;
      staying.add(needed);
    }
  }
}
