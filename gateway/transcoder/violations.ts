import { type FieldViolation, invalidFields } from "./http-error.js";

/** A list that names everything: nobody reads more than this many. */
const maxViolations = 20;

/** A value that does not fit its field; becomes a violation where the field is known. */
export class InvalidValue extends Error {}

/** Collects what is wrong with a request, so that one answer names all of it. */
export class Violations {
  readonly found: FieldViolation[] = [];

  add(field: string, description: string): void {
    if (this.found.length < maxViolations) this.found.push({ field, description });
  }

  /** Runs `read`; an InvalidValue becomes a violation of the field, and the result undefined. */
  guard<T>(field: string, read: () => T): T | undefined {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof InvalidValue)) throw error;
      this.add(field, error.message);
      return undefined;
    }
  }

  /** Throws INVALID_ARGUMENT with google.rpc.BadRequest when anything was found. */
  throwIfAny(): void {
    if (this.found.length > 0) throw invalidFields(this.found);
  }
}

/** The path of a member below a path: `a` and `b` make `a.b`. */
export function memberPath(path: string, name: string): string {
  return path === "" ? name : `${path}.${name}`;
}
