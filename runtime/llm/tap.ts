/** Passes a stream on as it is, its end and its reader's leaving too, and tells of each piece before it is read. */
export async function* tap<Piece, Whole>(stream: AsyncGenerator<Piece, Whole>, onPiece: (piece: Piece) => void): AsyncGenerator<Piece, Whole> {
  try {
    for (;;) {
      const step = await stream.next();
      if (step.done === true) return step.value;
      onPiece(step.value);
      yield step.value;
    }
  } finally {
    // Nothing when it has ended; a reader that leaves ends it.
    await stream.return(undefined as Whole);
  }
}
