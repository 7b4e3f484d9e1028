import { parseAllDocuments } from "yaml";
import { z } from "zod";
import { ConfigError } from "../../../runtime/config.js";
import { type Domains, type Rule, type RuleChoices, ruleLimit, type RuleNode, type Unit, UNITS_MS } from "./rules.js";

const units = Object.keys(UNITS_MS) as Unit[];

interface DescriptorConfig {
  key: string;
  value?: string | undefined;
  rate_limit?: z.infer<typeof rateLimitSchema> | undefined;
  shadow_mode: boolean;
  descriptors: DescriptorConfig[];
}

const rateLimitSchema = z
  .strictObject({
    name: z.string().default(""),
    unit: z
      .string()
      .transform((unit) => unit.toLowerCase())
      .pipe(z.enum(units, `give one of ${units.join(", ")}`))
      .optional(),
    requests_per_unit: z.int("give a whole number").min(0).max(0xffff_ffff, "give at most 4294967295").optional(),
    unlimited: z.boolean("give true or false").default(false),
    already_spent: z.boolean("give true or false").default(false),
    replaces: z.array(z.strictObject({ name: z.string().min(1) })).default([]),
  })
  .refine(
    (limit) => (limit.unlimited ? limit.unit === undefined : limit.unit !== undefined && limit.requests_per_unit !== undefined),
    "give unit and requests_per_unit, or unlimited: true",
  );

const descriptorSchema: z.ZodType<DescriptorConfig> = z.strictObject({
  key: z.string().min(1, "give the descriptor's key"),
  value: z.union([z.string(), z.number(), z.boolean()]).transform(String).optional(),
  rate_limit: rateLimitSchema.optional(),
  shadow_mode: z.boolean("give true or false").default(false),
  descriptors: z.lazy(() => z.array(descriptorSchema)).default([]),
}) as never;

const domainSchema = z.strictObject({ domain: z.string().min(1, "give the domain"), descriptors: z.array(descriptorSchema).default([]) });

/**
 * Reads domains in the YAML of Envoy's reference rate limit service, several in a file as documents of their own.
 * @throws ConfigError naming the domain and every field that is wrong
 */
export function parseRules(texts: readonly string[]): Domains {
  const domains = new Map<string, RuleNode>();
  for (const document of texts.flatMap((text) => [...parseAllDocuments(text)])) {
    const [error] = document.errors;
    if (error !== undefined) throw new ConfigError(`The rate limits for Envoy are not YAML: ${error.message}`);
    const data = document.toJS() as unknown;
    if (data === null || data === undefined) continue;
    const result = domainSchema.safeParse(data);
    const name = (data as { domain?: unknown }).domain;
    if (!result.success) {
      const lines = result.error.issues.map((issue) => `  ${issue.path.join(".") || "(top)"}: ${issue.message}`);
      throw new ConfigError(`The rate limits for Envoy (domain ${String(name)}) are wrong:\n${lines.join("\n")}`);
    }
    const { domain, descriptors } = result.data;
    if (domains.has(domain)) throw new ConfigError(`The rate limits for Envoy have the domain ${domain} twice.`);
    domains.set(domain, { children: choicesOf(descriptors, domain) });
  }
  return domains;
}

interface MutableChoices extends RuleChoices {
  exact: Map<string, RuleNode>;
  prefixes: { prefix: string; node: RuleNode }[];
  any: RuleNode | undefined;
}

function choicesOf(descriptors: readonly DescriptorConfig[], path: string): RuleNode["children"] {
  const children = new Map<string, MutableChoices>();
  for (const descriptor of descriptors) {
    const { key, value } = descriptor;
    const choices: MutableChoices = children.get(key) ?? { exact: new Map(), prefixes: [], any: undefined };
    children.set(key, choices);
    const here = `${path}.${key}${value === undefined ? "" : `_${value}`}`;
    const known = value === undefined ? choices.any !== undefined : choices.exact.has(value) || choices.prefixes.some(({ prefix }) => `${prefix}*` === value);
    if (known) throw new ConfigError(`The rate limits for Envoy have the descriptor ${here} twice.`);
    const node: RuleNode = { rule: ruleOf(descriptor, here), children: choicesOf(descriptor.descriptors, here) };
    if (value === undefined) choices.any = node;
    else if (value.endsWith("*")) choices.prefixes.push({ prefix: value.slice(0, -1), node });
    else choices.exact.set(value, node);
  }
  return children;
}

function ruleOf({ rate_limit: given, shadow_mode: shadow }: DescriptorConfig, path: string): Rule | undefined {
  if (given === undefined) return undefined;
  const limit = given.unlimited ? "unlimited" : ruleLimit(given.requests_per_unit!, given.unit!);
  return { limit, name: given.name || path, replaces: given.replaces.map(({ name }) => name), shadow, spent: given.already_spent };
}
