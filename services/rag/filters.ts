/**
 * Metadata filters: a JSON object that says which documents may be answered with.
 *
 *   {"kind": "valve", "pressure": {"$gte": 8, "$lt": 16}, "$not": {"status": {"$in": ["draft", "retired"]}}}
 *
 * - Several fields, and several operators of a field, must all hold. {} holds for every document.
 * - A field is a key of the metadata; "maker.city" is the key city of the object under maker. Paths do not lead into lists.
 * - $eq (or the value itself), $ne, $in, $nin take strings, numbers, true, false and null; $gt, $gte, $lt, $lte numbers or strings;
 *   $prefix a string; $exists true or false. Strings are compared by code points, so ISO dates compare as dates.
 * - Where the field holds a list, a condition holds when it does for one of its elements.
 * - Values of different types are never equal and have no order: "8" is not 8, and not above 7.
 * - A condition on a field that is not there does not hold. $ne and $nin are the opposites of $eq and $in, so they do hold there;
 *   {"field": null} holds only for a field that is there and null.
 *
 * The same filter can be asked of an object (evaluateFilter) and of a JSONB column (filterToSql), with the same answers.
 */

/** Of $and, $or and $not inside each other. */
export const MAX_FILTER_DEPTH = 8;
export const MAX_FILTER_CONDITIONS = 100;
/** Values of one $in or $nin. */
export const MAX_FILTER_VALUES = 1_000;
/** With more values than these, an index over the column is of no use any more. */
const MAX_INDEXED_VALUES = 16;

export type Scalar = string | number | boolean | null;
type Ordered = string | number;
const orders = { $gt: ">", $gte: ">=", $lt: "<", $lte: "<=" } as const;
type Order = (typeof orders)[keyof typeof orders];

export type Filter =
  | { op: "and" | "or"; filters: readonly Filter[] }
  | { op: "not"; filter: Filter }
  | { op: "in"; field: readonly string[]; values: readonly Scalar[] }
  | { op: "order"; field: readonly string[]; order: Order; value: Ordered }
  | { op: "prefix"; field: readonly string[]; value: string }
  | { op: "exists"; field: readonly string[] };

/** A filter that cannot be understood. */
export class FilterError extends Error {
  readonly kind = "INVALID_FILTER";
  /** Where in the filter, such as filters.$and[1].pressure.$gte. */
  readonly path: string;

  constructor(path: string, problem: string) {
    super(`${path} ${problem}`);
    this.name = "FilterError";
    this.path = path;
  }
}

/**
 * Reads a filter from parsed JSON.
 * @throws FilterError naming the place, what is wrong there and what to write instead.
 */
export function parseFilter(json: unknown): Filter {
  return new FilterParser().filter(json, "filters", 0);
}

class FilterParser {
  #conditions = 0;

  filter(json: unknown, path: string, depth: number): Filter {
    if (!isObject(json)) throw new FilterError(path, `must be an object such as {"kind": "valve"}, not ${nameOf(json)}.`);
    if (depth > MAX_FILTER_DEPTH) throw new FilterError(path, `is nested more than ${MAX_FILTER_DEPTH} deep; write it flatter.`);
    return all(Object.entries(json).map(([key, value]) => this.#member(key, value, `${path}.${key}`, depth)));
  }

  #member(key: string, value: unknown, path: string, depth: number): Filter {
    if (key === "$and" || key === "$or") {
      if (!Array.isArray(value) || value.length === 0) throw new FilterError(path, "must be a list of at least one filter.");
      const filters = value.map((each, i) => this.filter(each, `${path}[${i}]`, depth + 1));
      return { op: key === "$and" ? "and" : "or", filters };
    }
    if (key === "$not") return { op: "not", filter: this.filter(value, path, depth + 1) };
    if (key.startsWith("$")) throw new FilterError(path, "is no operator here; use $and, $or, $not or the name of a field.");
    const field = key.split(".");
    if (field.includes("")) throw new FilterError(path, "is no field: a name, or names joined by single dots.");
    checkText(key, path);
    return this.#field(field, value, path);
  }

  #field(field: readonly string[], value: unknown, path: string): Filter {
    if (!isObject(value)) return this.#condition(field, "$eq", value, path);
    const operators = Object.entries(value);
    const plain = operators.find(([key]) => !key.startsWith("$"))?.[0];
    if (operators.length === 0 || plain !== undefined) {
      throw new FilterError(path, `must be a value or operators such as {"$gte": 8}; for a key of an object write "${field.join(".")}.${plain ?? "key"}".`);
    }
    return all(operators.map(([operator, operand]) => this.#condition(field, operator, operand, `${path}.${operator}`)));
  }

  #condition(field: readonly string[], operator: string, value: unknown, path: string): Filter {
    if (++this.#conditions > MAX_FILTER_CONDITIONS) {
      throw new FilterError(path, `is condition ${this.#conditions}; a filter has at most ${MAX_FILTER_CONDITIONS}. Use $in for many values of a field.`);
    }
    switch (operator) {
      case "$eq":
        return { op: "in", field, values: [scalar(value, path)] };
      case "$ne":
        return { op: "not", filter: { op: "in", field, values: [scalar(value, path)] } };
      case "$in":
        return { op: "in", field, values: scalars(value, path) };
      case "$nin":
        return { op: "not", filter: { op: "in", field, values: scalars(value, path) } };
      case "$gt":
      case "$gte":
      case "$lt":
      case "$lte":
        return { op: "order", field, order: orders[operator], value: ordered(value, path) };
      case "$prefix":
        if (typeof value !== "string") throw new FilterError(path, `must be a string, not ${nameOf(value)}.`);
        return { op: "prefix", field, value: checkText(value, path) };
      case "$exists":
        if (typeof value !== "boolean") throw new FilterError(path, `must be true or false, not ${nameOf(value)}.`);
        return value ? { op: "exists", field } : { op: "not", filter: { op: "exists", field } };
      case "$not":
        throw new FilterError(path, `stands around fields: write {"$not": {"${field.join(".")}": ...}}.`);
      default:
        throw new FilterError(path, "is no operator; use $eq, $ne, $in, $nin, $gt, $gte, $lt, $lte, $prefix or $exists.");
    }
  }
}

function all(filters: readonly Filter[]): Filter {
  return filters.length === 1 ? filters[0]! : { op: "and", filters };
}

function isObject(json: unknown): json is Record<string, unknown> {
  return typeof json === "object" && json !== null && !Array.isArray(json);
}

function nameOf(json: unknown): string {
  return json === null ? "null" : Array.isArray(json) ? "a list" : typeof json === "object" ? "an object" : `a ${typeof json}`;
}

function scalar(value: unknown, path: string): Scalar {
  if (value === null || typeof value === "boolean") return value;
  if (typeof value === "string" || typeof value === "number") return ordered(value, path);
  if (Array.isArray(value)) throw new FilterError(path, 'cannot equal a list; write {"$in": [...]} for one of several values.');
  throw new FilterError(path, `must be a string, a number, true, false or null, not ${nameOf(value)}.`);
}

function scalars(value: unknown, path: string): Scalar[] {
  if (!Array.isArray(value)) throw new FilterError(path, `must be a list of values, not ${nameOf(value)}.`);
  if (value.length > MAX_FILTER_VALUES) throw new FilterError(path, `has ${value.length} values; at most ${MAX_FILTER_VALUES} are allowed.`);
  return value.map((each, i) => scalar(each, `${path}[${i}]`));
}

function ordered(value: unknown, path: string): Ordered {
  if (typeof value === "string") return checkText(value, path);
  if (typeof value === "number" && Number.isFinite(value)) return value;
  throw new FilterError(path, `must be a number or a string, not ${typeof value === "number" ? value : nameOf(value)}.`);
}

/** PostgreSQL stores neither the zero character nor half characters, so nothing could equal them. */
function checkText(text: string, path: string): string {
  if (/[\0\p{Cs}]/u.test(text)) throw new FilterError(path, "holds a zero character or half of a surrogate pair; leave it out.");
  return text;
}

/** Whether the filter holds for a document's metadata. */
export function evaluateFilter(filter: Filter, metadata: Readonly<Record<string, unknown>>): boolean {
  switch (filter.op) {
    case "and":
      return filter.filters.every((each) => evaluateFilter(each, metadata));
    case "or":
      return filter.filters.some((each) => evaluateFilter(each, metadata));
    case "not":
      return !evaluateFilter(filter.filter, metadata);
    case "exists":
      return valueAt(metadata, filter.field) !== undefined;
    case "in":
      return someValue(metadata, filter.field, (value) => filter.values.includes(value as Scalar));
    case "order":
      return someValue(metadata, filter.field, (value) => isInOrder(value, filter.order, filter.value));
    case "prefix":
      return someValue(metadata, filter.field, (value) => typeof value === "string" && value.startsWith(filter.value));
  }
}

function valueAt(metadata: unknown, field: readonly string[]): unknown {
  let value = metadata;
  for (const key of field) {
    if (!isObject(value) || !Object.hasOwn(value, key)) return undefined;
    value = value[key];
  }
  return value;
}

function someValue(metadata: unknown, field: readonly string[], holds: (value: unknown) => boolean): boolean {
  const value = valueAt(metadata, field);
  return Array.isArray(value) ? value.some(holds) : holds(value);
}

function isInOrder(value: unknown, order: Order, limit: Ordered): boolean {
  let difference: number;
  if (typeof value === "number" && typeof limit === "number") difference = value === limit ? 0 : value < limit ? -1 : 1;
  else if (typeof value === "string" && typeof limit === "string") difference = compareCodePoints(value, limit);
  else return false;
  switch (order) {
    case ">":
      return difference > 0;
    case ">=":
      return difference >= 0;
    case "<":
      return difference < 0;
    case "<=":
      return difference <= 0;
  }
}

/** As PostgreSQL's jsonpath does; JavaScript's own order is that of UTF-16 code units. */
function compareCodePoints(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/**
 * The filter as a PostgreSQL condition that is never NULL. Its values are added to `params`, and only their numbers stand in the text.
 * @param column an SQL expression for the metadata: JSONB, never NULL, an object. Equality can use a GIN index over it.
 */
export function filterToSql(filter: Filter, column: string, params: unknown[]): string {
  const json = (value: unknown) => `$${params.push(JSON.stringify(value))}::text::jsonb`;
  const value = (field: readonly string[]) => field.reduce((sql, key) => `${sql} -> $${params.push(key)}::text`, column);
  const some = (field: readonly string[], path: string, operand: Scalar) => {
    const target = value(field);
    const vars = json({ x: operand });
    // Strict: the lax mode would look into lists inside lists. Silent: a path that does not fit is no match.
    const matches = ["$", "$[*]"].map((root) => `jsonb_path_exists(${target}, 'strict ${root} ? (${path})', ${vars}, true)`);
    return `(${matches.map((match) => `coalesce(${match}, false)`).join(" OR ")})`;
  };
  const joined = (filters: readonly Filter[], operator: "AND" | "OR") =>
    filters.length === 0 ? "TRUE" : `(${filters.map((each) => filterToSql(each, column, params)).join(` ${operator} `)})`;

  switch (filter.op) {
    case "and":
      return joined(filter.filters, "AND");
    case "or":
      return joined(filter.filters, "OR");
    case "not":
      return `(NOT ${filterToSql(filter.filter, column, params)})`;
    case "exists":
      return `((${value(filter.field)}) IS NOT NULL)`;
    case "order":
      return some(filter.field, `@ ${filter.order} $x`, filter.value);
    case "prefix":
      return some(filter.field, "@ starts with $x", filter.value);
    case "in": {
      const { field, values } = filter;
      if (values.length === 0) return "FALSE";
      if (values.length > MAX_INDEXED_VALUES) {
        // A scalar contains itself, and a list its elements.
        return `coalesce((SELECT bool_or((${value(field)}) @> candidate) FROM jsonb_array_elements(${json(values)}) AS candidate), false)`;
      }
      const held = values.flatMap((each) => [each, [each]]).map((each) => field.reduceRight<unknown>((inner, key) => ({ [key]: inner }), each));
      return `(${held.map((each) => `${column} @> ${json(each)}`).join(" OR ")})`;
    }
  }
}
