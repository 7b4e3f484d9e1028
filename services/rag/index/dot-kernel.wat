;; Dot products of one int16 vector with many int8 rows, for engines with fixed-width SIMD.
;;
;; Eight int8 components are loaded and widened at once, multiplied with eight of the query, and added in pairs to four
;; int32 sums. The caller sees to it that the query's product with any row fits 32 bits.
;;
;; The caller lays out the memory: page 0 the query, page 1 the results, rows behind. scripts/build-wasm.mjs makes
;; dot-kernel-wasm.ts of this file.
(module
  (memory (export "memory") 2)

  ;; Writes `count` int32 products to `out`: of the query with each of the rows that start at `row`, `stride` bytes apart
  ;; and long, where `stride` is a multiple of 16.
  (func (export "dots")
    (param $row i32) (param $count i32) (param $stride i32) (param $query i32) (param $out i32)
    (local $outEnd i32) (local $rowEnd i32) (local $component i32) (local $low v128) (local $high v128)
    (local.set $outEnd (i32.add (local.get $out) (i32.shl (local.get $count) (i32.const 2))))
    (block $done
      (loop $rows
        (br_if $done (i32.ge_u (local.get $out) (local.get $outEnd)))
        (local.set $low (v128.const i32x4 0 0 0 0))
        (local.set $high (v128.const i32x4 0 0 0 0))
        (local.set $component (local.get $query))
        (local.set $rowEnd (i32.add (local.get $row) (local.get $stride)))
        (loop $components
          (local.set $low
            (i32x4.add
              (local.get $low)
              (i32x4.dot_i16x8_s (v128.load8x8_s (local.get $row)) (v128.load (local.get $component)))))
          (local.set $high
            (i32x4.add
              (local.get $high)
              (i32x4.dot_i16x8_s (v128.load8x8_s offset=8 (local.get $row)) (v128.load offset=16 (local.get $component)))))
          (local.set $component (i32.add (local.get $component) (i32.const 32)))
          (local.set $row (i32.add (local.get $row) (i32.const 16)))
          (br_if $components (i32.lt_u (local.get $row) (local.get $rowEnd))))
        (local.set $low (i32x4.add (local.get $low) (local.get $high)))
        (i32.store
          (local.get $out)
          (i32.add
            (i32.add (i32x4.extract_lane 0 (local.get $low)) (i32x4.extract_lane 1 (local.get $low)))
            (i32.add (i32x4.extract_lane 2 (local.get $low)) (i32x4.extract_lane 3 (local.get $low)))))
        (local.set $out (i32.add (local.get $out) (i32.const 4)))
        (br $rows)))))
