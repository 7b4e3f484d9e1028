export default {
  name: "convert_bar",
  description: "Converts a pressure from bar to kilopascal.",
  parameters: {
    type: "object",
    properties: { bar: { type: "number", minimum: 0 } },
    required: ["bar"],
    additionalProperties: false,
  },
  async run({ bar }) {
    return { kilopascal: bar * 100 };
  },
};
