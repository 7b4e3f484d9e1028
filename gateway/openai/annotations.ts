import type { Citation } from "../../gen/ragents/rag/v1/rag_pb.js";

/** A source of an answer in OpenAI's form: pages by their URL, all else as files. */
export type Annotation =
  | {
      type: "url_citation";
      url_citation: { start_index: number; end_index: number; title: string; url: string; quote: string };
    }
  | {
      type: "file_citation";
      file_citation: {
        start_index: number;
        end_index: number;
        file_id: string;
        filename: string;
        quote: string;
        chunk_id: string;
        start: number;
        end: number;
      };
    };

/** The places where a text cites, in order: start_index and end_index are those of "[n]", in UTF-16 code units. */
export function annotationsOf(text: string, citations: readonly Citation[]): Annotation[] {
  return [...text.matchAll(/\[(\d+)\]/g)].flatMap((mark): Annotation[] => {
    const citation = citations.find(({ index }) => index === Number(mark[1]));
    if (citation === undefined) return [];
    const { documentId, chunkId, source, start, end, quote } = citation;
    const at = { start_index: mark.index, end_index: mark.index + mark[0].length };
    if (/^https?:\/\//.test(source)) {
      return [{ type: "url_citation", url_citation: { ...at, title: documentId, url: source, quote } }];
    }
    const filename = source.split("/").at(-1) || documentId;
    return [{ type: "file_citation", file_citation: { ...at, file_id: documentId, filename, quote, chunk_id: chunkId, start, end } }];
  });
}
