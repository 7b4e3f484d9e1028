import { readFileSync } from "node:fs";
import fc from "fast-check";
import wabt from "wabt";
import { expect, test } from "vitest";
import { type DotKernel, JavaScriptKernel, ROW_ALIGNMENT, sharedKernel, SLAB_BYTES, WasmKernel } from "./dot-kernel.js";
import { dotKernelWasm } from "./dot-kernel-wasm.js";

const component = fc.integer({ min: -127, max: 127 });

test("both kernels give the products of the definition", () => {
  const kernels: DotKernel[] = [new JavaScriptKernel(), new WasmKernel()];
  const slabs = kernels.map((kernel) => kernel.allocate());
  const scenario = fc.integer({ min: 1, max: 6 }).chain((pieces) => {
    const row = fc.array(component, { minLength: pieces * ROW_ALIGNMENT, maxLength: pieces * ROW_ALIGNMENT });
    return fc.record({ query: row, rows: fc.array(row, { minLength: 1, maxLength: 9 }), first: fc.nat(), count: fc.nat() });
  });
  fc.assert(
    fc.property(scenario, ({ query, rows, first, count }) => {
      const from = first % rows.length;
      const number = (count % (rows.length - from)) + 1;
      const expected = rows.slice(from, from + number).map((row) => row.reduce((sum, value, i) => sum + value * query[i]!, 0));
      kernels.forEach((kernel, i) => {
        rows.forEach((row, at) => kernel.bytes(slabs[i]!).set(row, at * query.length));
        const dots = kernel.dots(slabs[i]!, from, number, query.length, Int16Array.from(query));
        expect([...dots.slice(0, number)]).toEqual(expected);
      });
    }),
  );
});

test.each([new JavaScriptKernel(), new WasmKernel()])("the largest sums fit ($name)", (kernel) => {
  const slab = kernel.allocate();
  kernel.bytes(slab).fill(-127);
  const dots = kernel.dots(slab, 0, 4, SLAB_BYTES / 4, new Int16Array(SLAB_BYTES / 4).fill(127));
  expect([...dots.slice(0, 4)]).toEqual(Array(4).fill(-127 * 127 * 16_384));
});

test.each([new JavaScriptKernel(), new WasmKernel()])("a full slab is one call, and slabs do not touch each other ($name)", (kernel) => {
  const slabs = Array.from({ length: 40 }, () => kernel.allocate());
  slabs.forEach((slab, i) => kernel.bytes(slab).fill(i + 1));
  const query = new Int16Array(ROW_ALIGNMENT).fill(1);
  slabs.forEach((slab, i) => {
    const dots = kernel.dots(slab, 0, SLAB_BYTES / ROW_ALIGNMENT, ROW_ALIGNMENT, query);
    expect(new Set(dots.slice(0, SLAB_BYTES / ROW_ALIGNMENT))).toEqual(new Set([(i + 1) * ROW_ALIGNMENT]));
  });
});

test.each([new JavaScriptKernel(), new WasmKernel()])("a slab that was given back is used again ($name)", (kernel) => {
  const first = kernel.allocate();
  kernel.release(first);
  expect(kernel.allocate()).toBe(first);
});

test("the fast kernel is used where the engine runs it", () => {
  expect(WasmKernel.isSupported()).toBe(true);
  expect(sharedKernel().name).toBe("wasm-simd");
  expect(sharedKernel()).toBe(sharedKernel());
});

test("the bytes are what the source makes", async () => {
  const tools = await wabt();
  const source = readFileSync(new URL("dot-kernel.wat", import.meta.url), "utf8");
  const module = tools.parseWat("dot-kernel.wat", source, { simd: true });
  expect(Buffer.from(module.toBinary({}).buffer)).toEqual(Buffer.from(dotKernelWasm));
});
