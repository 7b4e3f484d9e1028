import type { RequestBinding } from "../transcoder/request-binding.js";

/** A segment of a path that the client fills in. */
export interface PathParameter {
  /** Its name in the path: the field's, where that is enough. */
  readonly name: string;
  /** The field path in the request message. */
  readonly fieldPath: string;
  /** Whether it is all of the field's value. */
  readonly isWhole: boolean;
  /** Whether it may hold slashes. */
  readonly isRest: boolean;
}

/**
 * A path template as OpenAPI writes it, where a parameter is one segment: `/v1/{name=shelves/*}` is
 * `/v1/shelves/{name_shelves}`. A `**` becomes a parameter too, though OpenAPI cannot tell that it may hold slashes.
 */
export function openApiPath(binding: RequestBinding): { path: string; parameters: PathParameter[] } {
  const { segments, variables, verb } = binding.template;
  const parameters: PathParameter[] = [];
  const lastNames = variables.map(({ fieldPath }) => fieldPath.slice(fieldPath.lastIndexOf(".") + 1));
  const parts = segments.map((segment, i) => {
    if (segment.kind === "literal") return encodeURIComponent(segment.text);
    const variable = variables.find(({ start, end }) => start <= i && i < end);
    const fieldPath = variable?.fieldPath ?? "";
    const isWhole = variable !== undefined && variable.end - variable.start === 1;
    const before = segments[i - 1];
    const place = before?.kind === "literal" ? before.text : String(i);
    const last = fieldPath.slice(fieldPath.lastIndexOf(".") + 1);
    const field = lastNames.filter((other) => other === last).length > 1 ? fieldPath : last;
    const name = isWhole ? field : [field, place].filter((part) => part !== "").join("_");
    parameters.push({ name, fieldPath, isWhole, isRest: segment.kind === "rest" });
    return `{${name}}`;
  });
  const ending = verb === "" ? "" : `:${encodeURIComponent(verb)}`;
  return { path: `/${parts.join("/")}${ending}`, parameters };
}
