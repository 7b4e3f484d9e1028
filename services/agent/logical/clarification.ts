import type { Clarification } from "./analysis.js";
import type { Parameters } from "./parameters.js";

/** What to ask back when a constraint does not hold, or when nothing is sure enough. */
export function clarificationFor(broken: string | undefined, question: string, parameters: Parameters): Clarification {
  const { left = "it", from, to, min, max } = parameters;
  switch (broken) {
    case "two_sides":
      return { question: `What should ${left} be compared with?`, options: [`Compare ${left} with something else.`, `What is ${left}?`] };
    case "sides_differ":
      return { question: `Both sides of the comparison are ${left}. What should it be compared with?`, options: [`What is ${left}?`] };
    case "years_in_order":
      return {
        question: `The question begins in ${from} and ends in ${to}. Which years do you mean?`,
        options: [`From ${to} to ${from}.`, `Since ${from}.`, `Until ${to}.`],
      };
    case "numbers_in_order":
      return {
        question: `No number is at least ${min} and at most ${max}. Which range do you mean?`,
        options: [`Between ${max} and ${min}.`, `At least ${min}.`, `At most ${max}.`],
      };
    default:
      return {
        question: `What is your question about? ${JSON.stringify(question.trim())} does not name it.`,
        options: ["Ask again with the name of the thing that you mean.", "Ask what the documents are about."],
      };
  }
}

/** A clarification as an answer. */
export function asText({ question, options }: Clarification): string {
  return `${question}\n${options.map((option) => `- ${option}`).join("\n")}`;
}
