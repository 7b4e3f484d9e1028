/** A vector in int8: component i is about values[i] * scale. */
export interface QuantizedVector {
  values: Int8Array;
  /** 0 for the zero vector. */
  scale: number;
}

/**
 * Rounds a vector to int8 with one scale, symmetric around 0: the component with the largest absolute value becomes 127
 * or -127, so -128 never occurs and products of two components fit 15 bits.
 */
export function quantize(vector: ArrayLike<number>): QuantizedVector {
  let largest = 0;
  for (let i = 0; i < vector.length; i++) largest = Math.max(largest, Math.abs(vector[i]!));
  const values = new Int8Array(vector.length);
  // A largest component so small that its 127th part is no number any more is the zero vector to every search.
  const scale = Math.fround(largest / 127);
  if (scale === 0) return { values, scale: 0 };
  for (let i = 0; i < vector.length; i++) values[i] = Math.max(-127, Math.min(127, Math.round(vector[i]! / scale)));
  return { values, scale };
}
