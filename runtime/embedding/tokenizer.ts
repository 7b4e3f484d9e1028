import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { packageRoot } from "../package-root.js";
import { WordPieceTokenizer } from "./wordpiece.js";

let loading: Promise<WordPieceTokenizer> | undefined;

/** The tokenizer of static-256 and all-MiniLM-L6-v2, which have one vocabulary; read once a thread. */
export function loadTokenizer(): Promise<WordPieceTokenizer> {
  loading ??= readFile(join(packageRoot, "models/static-256/vocab.txt"), "utf8").then(
    (vocabulary) => new WordPieceTokenizer(vocabulary.trimEnd().split("\n")),
    (cause: unknown) => {
      loading = undefined;
      throw cause;
    },
  );
  return loading;
}
