/** A tool of the tests that may not be called without approval; it says how often it was. */
let published = 0;

export default {
  name: "publish",
  description: "Publishes a text.",
  parameters: { type: "object", properties: { text: { type: "string" } }, required: ["text"], additionalProperties: false },
  needsApproval: true,
  run: async ({ text }) => `Published ${JSON.stringify(text)} as number ${(published += 1)}.`,
};
