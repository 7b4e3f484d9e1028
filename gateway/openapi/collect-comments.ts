import type { DescFile } from "@bufbuild/protobuf";
import { nestedTypes } from "@bufbuild/protobuf/reflect";
import { getComments } from "@bufbuild/protoplugin";
import type { Comments } from "./comments.js";

/**
 * The comments of everything in proto files, by full name; generated code does not keep them. The files must have been
 * compiled with source info. Elements without a comment are left out.
 */
export function collectComments(files: Iterable<DescFile>): Comments {
  const comments: Record<string, string> = {};
  const add = (name: string, desc: Parameters<typeof getComments>[0]): void => {
    const text = tidy(getComments(desc).leading ?? "");
    if (text !== "") comments[name] = text;
  };
  for (const file of files) {
    for (const type of nestedTypes(file)) {
      add(type.typeName, type);
      if (type.kind === "message") for (const field of type.fields) add(`${type.typeName}.${field.name}`, field);
      if (type.kind === "enum") for (const value of type.values) add(`${type.typeName}.${value.name}`, value);
      if (type.kind === "service") for (const method of type.methods) add(`${type.typeName}.${method.name}`, method);
    }
  }
  return comments;
}

/** Without the space after "//", and without white space around. */
function tidy(text: string): string {
  return text.replaceAll(/^ /gm, "").trim();
}
