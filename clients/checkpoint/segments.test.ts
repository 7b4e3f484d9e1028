import { AIMessage, HumanMessage } from "@langchain/core/messages";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { addContents, joinValue, type Segments, toContents, toKeys, ValueCutter } from "./segments.js";

const long = (text: string) => text.repeat(400);

function cut(value: unknown, cutter = new ValueCutter()) {
  const segments: Segments = new Map();
  const cutValue = cutter.cut(value, segments);
  return { value: cutValue, segments, keys: toKeys(cutValue.segments) };
}

describe("cutting values", () => {
  test.each([
    ["a small value has no segments", { a: 1 }, 0],
    ["a longer one has one", long("x"), 1],
    ["of 3 MiB has four, of a mebibyte at most", new Uint8Array(3 * 1024 * 1024 + 1), 4],
    ["a list of small elements gathers them", Array.from({ length: 100 }, (_, i) => ({ i, text: "twenty characters or so" })), 14],
    ["a list of long elements has one each", [long("a"), long("b"), long("c")], 3],
    ["small elements join the next long one", ["a", long("b"), "c"], 1],
  ])("%s", (_, value, count) => {
    const { value: whole, segments, keys } = cut(value);
    expect(keys).toHaveLength(count);
    const joined = joinValue(whole, segments);
    // Comparing byte by byte takes the runner seconds.
    if (value instanceof Uint8Array) expect(Buffer.compare(joined as Uint8Array, value)).toBe(0);
    else expect(joined).toStrictEqual(value);
    for (const data of segments.values()) expect(data.length).toBeLessThanOrEqual(1024 * 1024);
  });

  test("a list with one more shares all segments of the one before", () => {
    const list = Array.from({ length: 20 }, (_, i) => ({ i, text: long(String(i)) }));
    const before = cut(list);
    const after = cut([...list, { i: 20, text: long("20") }]);
    expect(after.keys.slice(0, 20)).toEqual(before.keys);
  });

  test("an element alone has the segment that it has in a list", () => {
    const message = new HumanMessage({ content: long("a"), id: "1" });
    expect(cut([message]).keys).toEqual(cut([new AIMessage(long("b")), message]).keys.slice(1));
  });

  test("any list comes back, whatever is cut where", () => {
    const element = fc.oneof(fc.string(), fc.integer(), fc.string({ minLength: 200, maxLength: 700 }), fc.record({ a: fc.string() }, { noNullPrototype: true }));
    fc.assert(
      fc.property(fc.array(element, { maxLength: 30 }), (list) => {
        const { value, segments } = cut(list);
        expect(joinValue(value, segments)).toStrictEqual(list);
      }),
    );
  });

  test("a value whose segments are not there cannot be joined", () => {
    expect(() => joinValue(cut(long("x")).value, new Map())).toThrow("a segment that it does not contain");
    expect(() => joinValue({ ...cut(1).value, encoding: "msgpack" }, new Map())).toThrow('encoded as "msgpack"');
  });
});

describe("cutting the same elements again", () => {
  const message = () => new AIMessage({ content: long("a"), id: "1", additional_kwargs: { deep: { list: [1, { x: "y" }] } }, tool_calls: [{ name: "f", args: { a: 1 }, id: "c" }] });

  test("gives the same bytes", () => {
    const cutter = new ValueCutter();
    const list = [message(), { plain: long("p") }, "text", long("t")];
    const first = cut(list, cutter);
    const again = cut([...list], cutter);
    expect(again).toEqual(first);
    expect(joinValue(again.value, again.segments)).toEqual(list);
  });

  test.each<[string, (m: AIMessage) => void]>([
    ["its content", (m) => (m.content = long("b"))],
    ["its id", (m) => (m.id = "2")],
    ["a name that it did not have", (m) => (m.name = "n")],
    ["something deep inside", (m) => ((m.additional_kwargs.deep as { list: { x: string }[] }).list[1] as { x: string }).x = "z"],
    ["a key that it did not have", (m) => (m.additional_kwargs.more = undefined)],
    ["a key that it had", (m) => delete m.additional_kwargs.deep],
    ["an argument of a tool call", (m) => ((m.tool_calls?.[0]?.args as { a: number }).a = 2)],
    ["the order of a list", (m) => (m.additional_kwargs.deep as { list: unknown[] }).list.reverse()],
    ["a value's type", (m) => (m.additional_kwargs.deep = "deep")],
    ["what cannot be compared", (m) => (m.additional_kwargs.deep = new Map([[1, 2]]))],
  ])("sees a change of %s", (_, change) => {
    const cutter = new ValueCutter();
    const element = message();
    cut([element], cutter);
    change(element);
    const changed = cut([element], cutter);
    expect(changed.keys).toEqual(cut([element]).keys);
    const [back] = joinValue(changed.value, changed.segments) as AIMessage[];
    const { lc_kwargs: _made, ...fields } = element;
    expect(back).toMatchObject(fields);
  });

  test("sees a change of the second element of a gathered segment", () => {
    const cutter = new ValueCutter();
    const [small, other] = [{ s: "small" }, { text: long("a") }];
    cut([small, other], cutter);
    other.text = long("b");
    const changed = cut([small, other], cutter);
    expect(joinValue(changed.value, changed.segments)).toEqual([small, other]);
    const alone = cut([small, { text: long("c") }], cutter);
    expect(joinValue(alone.value, alone.segments)).toEqual([small, { text: long("c") }]);
  });
});

test("contents travel in messages of a size, and arrive", () => {
  const { segments } = cut(Array.from({ length: 10 }, (_, i) => long(String(i))));
  const messages = [...toContents(segments, 1000)];
  expect(messages).toHaveLength(5);
  const arrived: Segments = new Map();
  expect(messages.flatMap((contents) => addContents(contents, arrived))).toEqual([...segments.keys()]);
  expect([...arrived.values()].map((data) => Buffer.from(data))).toEqual([...segments.values()]);
});
