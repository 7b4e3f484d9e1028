import type { Embedder } from "../../runtime/embedding/embedder.js";
import { loadStaticEmbedder } from "../../runtime/embedding/static-embedder.js";

/** The embedding models that collections can be made with, by name. */
export type Embedders = ReadonlyMap<string, Embedder>;

/** Opens every model that this installation has. */
export async function openEmbedders(): Promise<Embedders> {
  const builtIn = await loadStaticEmbedder();
  return new Map<string, Embedder>([[builtIn.model, builtIn]]);
}

/** The model that a collection was made with. Throws when this installation does not have it. */
export function embedderFor(embedders: Embedders, model: string): Embedder {
  const embedder = embedders.get(model);
  if (embedder === undefined) {
    throw new Error(`a collection uses the embedding model ${model}, which is not configured here; known: ${[...embedders.keys()].join(", ")}`);
  }
  return embedder;
}
