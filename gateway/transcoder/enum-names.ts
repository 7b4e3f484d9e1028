import type { DescEnum, DescEnumValue } from "@bufbuild/protobuf";

/** The name of an enum value without its type's prefix: JOB_STATE_RUNNING of JobState is RUNNING. */
export function shortEnumName(value: DescEnumValue): string {
  return value.name.slice(value.parent.sharedPrefix?.length ?? 0);
}

/** The names that a caller may choose from; the unset value is left out. */
export function offeredEnumNames(desc: DescEnum): string[] {
  return desc.values.map(shortEnumName).filter((name) => name !== "UNSPECIFIED");
}

const valuesByName = new WeakMap<DescEnum, Map<string, number>>();

/** Finds the number of an enum value by its full or short name, whatever the case of its letters. */
export function enumNumber(desc: DescEnum, name: string): number | undefined {
  let values = valuesByName.get(desc);
  if (values === undefined) {
    values = new Map();
    for (const value of desc.values) values.set(shortEnumName(value).toUpperCase(), value.number);
    for (const value of desc.values) values.set(value.name.toUpperCase(), value.number);
    valuesByName.set(desc, values);
  }
  return values.get(name.toUpperCase());
}
