/** Turns texts into vectors whose dot product is their similarity. */
export interface Embedder {
  /** The model's name; vectors of two models are never compared. */
  readonly model: string;
  /** Components of every vector. */
  readonly dimension: number;
  /** Whether embedding takes longer than looking a vector up: milliseconds a text. Default: no. */
  readonly isCostly?: boolean;
  /**
   * One L2-normalised vector a text, in the order of the texts. A text without anything to embed has the zero vector.
   * Rejects with the signal's reason when it is aborted.
   */
  embed(texts: readonly string[], signal?: AbortSignal): Promise<Float32Array[]>;
  /** Tokens of a text as the model counts them; absent where they are not known. */
  countTokens?(text: string): number;
  /** Ends what it has running. */
  close?(): Promise<void>;
}

export type EmbeddingErrorKind = "MODEL_FILES_MISSING" | "REFUSED" | "WRONG_COUNT" | "WRONG_DIMENSION" | "NOT_FINITE";

/** An embedder that cannot be loaded, or that answered with something that is not what it promised. */
export class EmbeddingError extends Error {
  readonly kind: EmbeddingErrorKind;

  constructor(kind: EmbeddingErrorKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "EmbeddingError";
    this.kind = kind;
  }
}

/**
 * Checks what an embedder outside this process answered, before a vector of the wrong shape reaches an index where it
 * could not be told from a right one.
 * @throws EmbeddingError naming the model, the text's position and what is wrong.
 */
export function checkVectors(embedder: Pick<Embedder, "model" | "dimension">, count: number, vectors: readonly Float32Array[]): void {
  const { model, dimension } = embedder;
  if (vectors.length !== count) {
    throw new EmbeddingError("WRONG_COUNT", `The embedder ${model} answered ${vectors.length} vectors for ${count} texts.`);
  }
  vectors.forEach((vector, position) => {
    if (vector.length !== dimension) {
      throw new EmbeddingError(
        "WRONG_DIMENSION",
        `The embedder ${model} answered ${vector.length} components for text ${position}, not ${dimension}; ` +
          "configure the dimension that the model has, and build the collection's vectors anew.",
      );
    }
    if (!vector.every(Number.isFinite)) {
      throw new EmbeddingError("NOT_FINITE", `The embedder ${model} answered a component that is not a number for text ${position}.`);
    }
  });
}
