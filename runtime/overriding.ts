/** The target with some of its methods replaced; the others run on the target itself, so that its private fields are there. */
export function overriding<T extends object>(target: T, overrides: Partial<T>): T {
  return new Proxy(target, {
    get(_, name) {
      const value: unknown = Reflect.get(Object.hasOwn(overrides, name) ? overrides : target, name);
      return typeof value === "function" ? value.bind(Object.hasOwn(overrides, name) ? overrides : target) : value;
    },
  });
}
