import { invalidField } from "../../runtime/errors.js";
import type { Interrupt } from "./run.js";

/** An answer to an interrupt. */
export interface Decision {
  readonly approved: boolean;
  /** What the model is told of it; may be empty. */
  readonly comment: string;
}

/** Answers to what an interrupted run asks. */
export class InterruptDecisions {
  readonly #byId: ReadonlyMap<string, Decision>;

  constructor(decisions: readonly (Decision & { interruptId: string })[]) {
    this.#byId = new Map(decisions.map(({ interruptId, approved, comment }) => [interruptId, { approved, comment }]));
  }

  /** The answers by the ids of the interrupts. Throws INVALID_ARGUMENT unless there is one for each, and for nothing else. */
  answersTo(interrupts: readonly Interrupt[]): Record<string, Decision> {
    const asked = interrupts.map(({ id }) => id);
    const unknown = [...this.#byId.keys()].find((id) => !asked.includes(id));
    if (unknown !== undefined) throw invalidField("decisions", `the run does not ask ${unknown}; it asks ${asked.join(", ")}`);
    return Object.fromEntries(
      asked.map((id) => {
        const decision = this.#byId.get(id);
        if (decision === undefined) throw invalidField("decisions", `must answer every interrupt; ${id} is missing`);
        return [id, decision];
      }),
    );
  }
}
