import { expect, test } from "vitest";
import { overriding } from "./overriding.js";

class Counter {
  #count = 0;
  readonly name = "counter";
  add(by: number): number {
    return (this.#count += by);
  }
  addTwice(by: number): number {
    this.add(by);
    return this.add(by);
  }
}

test("replaces a method for callers, and leaves the target's own calls and private fields alone", () => {
  const target = new Counter();
  const loud = overriding(target, { add: (by) => target.add(by * 10) });
  expect(loud.add(1)).toBe(10);
  expect(loud.addTwice(1)).toBe(12);
  expect(loud.name).toBe("counter");
});
