/** The largest number that a float16 holds. */
const MAX_HALF = 65_504;
/** The smallest normal float16, and the step between those below it. */
const MIN_NORMAL = 2 ** -14;
const SUBNORMAL_STEP = 2 ** -24;

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/**
 * An embedding as it is cached: float16, little-endian, two bytes a component, each within 1/2048 of what it was (below
 * 2^-14 within 2^-25). A quarter of the vector as JSON or less, and quicker to read.
 * @throws RangeError for a component that is not a number, or beyond ±65,504.
 */
export function packEmbedding(vector: ArrayLike<number>): Uint8Array {
  const packed = new DataView(new ArrayBuffer(vector.length * 2));
  for (let i = 0; i < vector.length; i += 1) {
    const value = vector[i]!;
    // Not "greater than": NaN is no number either.
    if (!(Math.abs(value) <= MAX_HALF)) throw new RangeError(`component ${i} of an embedding is ${value}: give numbers within ±${MAX_HALF}`);
    packed.setUint16(i * 2, toHalf(value), true);
  }
  return new Uint8Array(packed.buffer);
}

/** The embedding that was packed. @throws RangeError when the bytes are not pairs. */
export function unpackEmbedding(packed: Uint8Array): Float32Array {
  if (packed.length % 2 !== 0) throw new RangeError(`an embedding has two bytes a component, not ${packed.length} in all`);
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength);
  return Float32Array.from({ length: packed.length / 2 }, (_, i) => fromHalf(view.getUint16(i * 2, true)));
}

function toHalf(value: number): number {
  float[0] = value;
  const sign = (bits[0]! >>> 16) & 0x8000;
  const magnitude = bits[0]! & 0x7fff_ffff;
  if (Math.abs(value) < MIN_NORMAL) {
    // Adding 0.5 leaves as many bits as a subnormal has, rounded to the nearest.
    float[0] = Math.abs(value) + 0.5;
    return sign | (bits[0]! - 0x3f00_0000);
  }
  const odd = (magnitude >>> 13) & 1;
  // The exponent's bias goes from 127 to 15; of two that are as near, the even one.
  return sign | ((magnitude - (112 << 23) + 0xfff + odd) >>> 13);
}

function fromHalf(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >>> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 0) return sign * fraction * SUBNORMAL_STEP;
  if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
