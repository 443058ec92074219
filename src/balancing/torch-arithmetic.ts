/**
 * The two habits of torch on a CPU that show in EPLB's placements: where its unstable sort leaves
 * equal values, and in which order it rounds a float32 sum.
 */

/** A range this short is left to the insertion sort, which is stable. */
const INSERTION_SORT_LENGTH = 16;

/**
 * Indices of `values`, largest value first. Equal values fall as in `torch.sort(descending=True)`,
 * which is the C++ library's introsort: stable up to 16 values, beyond that as its partitions leave
 * them. (Its heapsort, for orders made to defeat median-of-three, is left out.)
 */
export function descendingOrder(values: Float32Array): Int32Array {
  const order = new Int32Array(values.length).map((_, i) => i);
  partitionRange(order, values, 0, order.length);
  for (let i = 1; i < order.length; i++) {
    const index = order[i];
    let at = i;
    for (; at > 0 && values[index] > values[order[at - 1]]; at--) order[at] = order[at - 1];
    order[at] = index;
  }
  return order;
}

/** Quicksort of `order` from `start` to `end`, down to ranges for the insertion sort. */
function partitionRange(order: Int32Array, values: Float32Array, start: number, end: number): void {
  while (end - start > INSERTION_SORT_LENGTH) {
    const middle = start + ((end - start) >> 1);
    swap(order, start, medianOf(order, values, start + 1, middle, end - 1));
    const cut = partition(order, values, start + 1, end, values[order[start]]);
    partitionRange(order, values, cut, end);
    end = cut;
  }
}

/** The position, of three, that holds the median; which one of equals decides how ties fall. */
function medianOf(
  order: Int32Array,
  values: Float32Array,
  a: number,
  b: number,
  c: number,
): number {
  const precedes = (x: number, y: number) => values[order[x]] > values[order[y]];
  if (precedes(a, b)) return precedes(b, c) ? b : precedes(a, c) ? c : a;
  return precedes(a, c) ? a : precedes(b, c) ? c : b;
}

/** Hoare's partition around a pivot that lies outside the range; returns where the second part begins. */
function partition(
  order: Int32Array,
  values: Float32Array,
  left: number,
  right: number,
  pivot: number,
): number {
  for (;;) {
    while (values[order[left]] > pivot) left++;
    do right--;
    while (pivot > values[order[right]]);
    if (left >= right) return left;
    swap(order, left++, right);
  }
}

function swap(order: Int32Array, a: number, b: number): void {
  const held = order[a];
  order[a] = order[b];
  order[b] = held;
}

const VECTOR_LENGTH = 8;
const ACCUMULATORS = 4;

/**
 * Sum of `length` values from `start`, rounded to float32 as torch rounds the sum of a contiguous
 * row of up to 512: vectors of eight go to four accumulators in turn, which are added up in order;
 * then come the values beyond the last full vector, and the eight lanes. Shorter rows do the same
 * with single values.
 */
export function sumRow(values: Float32Array, start: number, length: number): number {
  if (length < VECTOR_LENGTH) return sumLane(values, start, length, 1);
  const vectors = Math.floor(length / VECTOR_LENGTH);
  let sum = 0;
  for (let i = vectors * VECTOR_LENGTH; i < length; i++) {
    sum = Math.fround(sum + values[start + i]);
  }
  for (let lane = 0; lane < VECTOR_LENGTH; lane++) {
    sum = Math.fround(sum + sumLane(values, start + lane, vectors, VECTOR_LENGTH));
  }
  return sum;
}

/** Sum of `count` values, `stride` apart. */
function sumLane(values: Float32Array, start: number, count: number, stride: number): number {
  const accumulators = new Float32Array(ACCUMULATORS);
  const even = count - (count % ACCUMULATORS);
  for (let i = 0; i < even; i++) accumulators[i % ACCUMULATORS] += values[start + i * stride];
  for (let i = even; i < count; i++) accumulators[0] += values[start + i * stride];
  for (let i = 1; i < ACCUMULATORS; i++) accumulators[0] += accumulators[i];
  return accumulators[0];
}
