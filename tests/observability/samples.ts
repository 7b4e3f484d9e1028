/** One line of /metrics. */
export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** Reads Prometheus' text format. */
export function samplesOf(text: string): Sample[] {
  return text.split("\n").flatMap((line) => {
    const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
    return match === null ? [] : [{ name: match[1]!, labels: labelsOf(match[2] ?? ""), value: Number(match[3]) }];
  });
}

function labelsOf(text: string): Record<string, string> {
  return Object.fromEntries([...text.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, name, value]) => [name!, value!]));
}

/** Whether a series selector such as name{a="b",c=~"d|e",f!=""} takes a sample. */
export function selects(selector: string, sample: Sample): boolean {
  const match = /^([\w:]+)(?:\{(.*)\})?$/.exec(selector);
  if (match === null) throw new Error(`not a selector: ${selector}`);
  if (match[1] !== sample.name) return false;
  return [...(match[2] ?? "").matchAll(/(\w+)(=~|!~|!=|=)"([^"]*)"/g)].every(([, label, operator, wanted]) => {
    const value = sample.labels[label!] ?? "";
    const same = operator!.endsWith("~") ? new RegExp(`^(?:${wanted!})$`).test(value) : value === wanted;
    return operator!.startsWith("!") ? !same : same;
  });
}
