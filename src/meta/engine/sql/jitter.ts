/** 0 ≤ x < 1, differently in every process: two that wait for each other must not keep step. Nothing else depends on it. */

let seed = process.pid
export function jitter(): number {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
  return seed / 2 ** 32
}
