/** How a question is rewritten before it is searched for. */
export const REWRITE_STRATEGIES = ["contextual", "hyde", "decomposition", "few_shot", "chain_of_thought", "chain_of_density", "persona", "none"] as const;
export type RewriteStrategy = (typeof REWRITE_STRATEGIES)[number];
