import type { PathTemplate, TemplateVariable } from "./path-template.js";

/** A route found for a method and path, with the decoded text of its path variables. */
export interface RouteMatch<R> {
  readonly kind: "match";
  readonly route: R;
  /** Field path in the request message, and its text. */
  readonly variables: readonly (readonly [fieldPath: string, text: string])[];
}

/** The outcome of a look-up. `allow` lists the methods that the path does answer. */
export type RouteLookup<R> =
  | RouteMatch<R>
  | { readonly kind: "method_not_allowed"; readonly allow: readonly string[] }
  | { readonly kind: "not_found" }
  | { readonly kind: "malformed"; readonly problem: string };

interface Entry<R> {
  readonly template: PathTemplate;
  readonly route: R;
}

/** The routes of one template shape, by HTTP method ("*" answers every method). */
type Leaf<R> = Map<string, Entry<R>>;

interface Node<R> {
  readonly literals: Map<string, Node<R>>;
  single: Node<R> | undefined;
  rest: Node<R> | undefined;
  readonly leaves: Map<string, Leaf<R>>;
}

interface Segment {
  readonly raw: string;
  readonly text: string;
}

/**
 * Finds routes by path templates. A literal is preferred to `*`, and `*` to `**`, from left to right; a path that ends
 * in a known verb is read with the verb first. Where the best template lacks the method, the next one with it answers.
 */
export class RouteTable<R> {
  readonly #root: Node<R> = newNode();
  readonly #decodeSlashes: boolean;

  /** With `decodeSlashes`, "%2F" in variables of several segments becomes "/"; google.api.http leaves it as it is. */
  constructor({ decodeSlashes = false }: { decodeSlashes?: boolean } = {}) {
    this.#decodeSlashes = decodeSlashes;
  }

  /** Adds a route. Throws when a template of the same shape already answers the method. */
  add(method: string, template: PathTemplate, route: R): void {
    const leaf = this.#leafOf(template);
    const taken = leaf.get(method);
    if (taken !== undefined) {
      throw new Error(`${method} ${template.text} is bound twice; the other template is ${taken.template.text}.`);
    }
    leaf.set(method, { template, route });
  }

  /** Adds a route that gives way to one of the same shape and method. */
  addImplied(method: string, template: PathTemplate, route: R): void {
    const leaf = this.#leafOf(template);
    if (!leaf.has(method)) leaf.set(method, { template, route });
  }

  /** Looks up an undecoded URL path, without its query. */
  find(method: string, path: string): RouteLookup<R> {
    const segments = splitPath(path);
    if (typeof segments === "string") return { kind: "malformed", problem: segments };
    const allow = new Set<string>();
    for (const { leaf, matched } of this.#leaves(segments)) {
      const entry = leaf.get(method) ?? leaf.get("*");
      if (entry !== undefined) return toMatch(entry, matched, this.#decodeSlashes);
      for (const known of leaf.keys()) allow.add(known);
    }
    if (allow.size === 0) return { kind: "not_found" };
    return { kind: "method_not_allowed", allow: [...allow, "OPTIONS"].sort() };
  }

  #leafOf(template: PathTemplate): Leaf<R> {
    let node = this.#root;
    for (const segment of template.segments) node = childFor(node, segment);
    const leaf = node.leaves.get(template.verb) ?? new Map<string, Entry<R>>();
    node.leaves.set(template.verb, leaf);
    return leaf;
  }

  /** The leaves whose templates match, most specific first. */
  *#leaves(segments: readonly Segment[]): Generator<{ leaf: Leaf<R>; matched: readonly Segment[] }> {
    const withVerb = splitVerb(segments);
    if (withVerb !== undefined) {
      for (const node of walk(this.#root, withVerb.segments, 0)) {
        const leaf = node.leaves.get(withVerb.verb);
        if (leaf !== undefined) yield { leaf, matched: withVerb.segments };
      }
    }
    for (const node of walk(this.#root, segments, 0)) {
      const leaf = node.leaves.get("");
      if (leaf !== undefined) yield { leaf, matched: segments };
    }
  }
}

function newNode<R>(): Node<R> {
  return { literals: new Map(), single: undefined, rest: undefined, leaves: new Map() };
}

function childFor<R>(node: Node<R>, segment: PathTemplate["segments"][number]): Node<R> {
  if (segment.kind === "single") return (node.single ??= newNode());
  if (segment.kind === "rest") return (node.rest ??= newNode());
  const child = node.literals.get(segment.text) ?? newNode<R>();
  node.literals.set(segment.text, child);
  return child;
}

/** The nodes that match all segments from `index` on, most specific first. */
function* walk<R>(node: Node<R>, segments: readonly Segment[], index: number): Generator<Node<R>> {
  const segment = segments[index];
  if (segment === undefined) {
    yield node;
  } else {
    const literal = node.literals.get(segment.text);
    if (literal !== undefined) yield* walk(literal, segments, index + 1);
    if (node.single !== undefined && segment.raw !== "") yield* walk(node.single, segments, index + 1);
  }
  if (node.rest !== undefined && segments.slice(index).every((rest) => rest.raw !== "")) yield node.rest;
}

/** Splits a path into segments, or says what is wrong with it. */
function splitPath(path: string): Segment[] | string {
  if (!path.startsWith("/")) return 'The path must start with "/".';
  const segments: Segment[] = [];
  for (const raw of path === "/" ? [] : path.slice(1).split("/")) {
    const text = decode(raw);
    if (text === undefined) return "The path is not percent-encoded UTF-8.";
    // Proxies resolve these before or after us: a path that two readers understand differently is refused.
    if (text === "." || text === "..") return 'The path must not contain the segments "." and "..".';
    segments.push({ raw, text });
  }
  return segments;
}

function splitVerb(segments: readonly Segment[]): { segments: Segment[]; verb: string } | undefined {
  const last = segments.at(-1);
  const colon = last?.raw.lastIndexOf(":") ?? -1;
  if (last === undefined || colon < 0) return undefined;
  const base = last.raw.slice(0, colon);
  const verb = decode(last.raw.slice(colon + 1)) ?? "";
  return verb === ""
    ? undefined
    : { segments: [...segments.slice(0, -1), { raw: base, text: decode(base) ?? "" }], verb };
}

function toMatch<R>(entry: Entry<R>, segments: readonly Segment[], decodeSlashes: boolean): RouteMatch<R> {
  const toRest = entry.template.segments.at(-1)?.kind === "rest";
  const variables = entry.template.variables.map((variable) => {
    const end = toRest && variable.end === entry.template.segments.length ? segments.length : variable.end;
    return [variable.fieldPath, captured(variable, segments.slice(variable.start, end), decodeSlashes)] as const;
  });
  return { kind: "match", route: entry.route, variables };
}

/** A variable of one segment is decoded whole; of several, "%2F" stays, or the borders of segments would be lost. */
function captured(variable: TemplateVariable, segments: readonly Segment[], decodeSlashes: boolean): string {
  if (!variable.multi) return segments[0]?.text ?? "";
  return segments.map(({ raw, text }) => (decodeSlashes ? text : decodeAllButSlashes(raw))).join("/");
}

function decodeAllButSlashes(raw: string): string {
  const parts = raw.split(/(%2f)/i);
  return parts.map((part, i) => (i % 2 === 1 ? part : (decode(part) ?? part))).join("");
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
