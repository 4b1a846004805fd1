// What every CUDA kernel here needs: widening loads, reductions of a warp, a block and a whole grid, and sums over d by one
// warp for several pairs of rows at once.
//
// A grid reduction ends in the block that arrives last (counted by one atomic), so a greedy pick costs one launch and
// the host never looks. The order of arrival decides only who does the last step, never what comes out: (value,
// position) pairs are compared in full, and ties go to the lowest position.
//
// Nothing is contracted (--fmad=false): a fused multiply-add is one that is written fma.
#pragma once
#include "launch.cuh"

namespace pyal::cuda {

// ---- values ----

// Constants rather than calls: device code may not call the functions of std::numeric_limits.
template <class C>
inline constexpr C infinity = std::numeric_limits<C>::infinity();
template <class C>
inline constexpr C epsilon = std::numeric_limits<C>::epsilon();
template <class V>
inline constexpr V below_all = std::numeric_limits<V>::has_infinity ? -std::numeric_limits<V>::infinity()
                                                                    : std::numeric_limits<V>::lowest();
inline constexpr int64_t beyond_all = std::numeric_limits<int64_t>::max();

template <class C>
struct Quad {
  C v[4];
};

// Whether load4 may read the rows of a (., d) matrix as whole vectors of four.
template <class T>
__host__ __device__ inline bool vectorizable(const T* data, int64_t d) {
  constexpr uintptr_t alignment = sizeof(T) * 4 < 16 ? sizeof(T) * 4 : 16;
  return d % 4 == 0 && reinterpret_cast<uintptr_t>(data) % alignment == 0;
}

// A row and what it is multiplied by: 1 where the matrix has no factor, which changes no bit and spares a branch.
template <class T>
struct ScaledRow {
  const T* stored;
  compute_t<T> factor;

  __device__ compute_t<T> operator[](int64_t c) const { return widen(stored[c]) * factor; }
};

// Columns c .. c + 3 of a row of d columns, zero beyond it.
template <class T>
__device__ inline Quad<compute_t<T>> load4(const ScaledRow<T>& row, int64_t c, int64_t d, bool vectorized) {
  Quad<compute_t<T>> to = {};
  if (vectorized) {
    if (c >= d) return to;
    if constexpr (sizeof(T) == 4) {
      const float4 raw = *reinterpret_cast<const float4*>(row.stored + c);
      to = {{raw.x, raw.y, raw.z, raw.w}};
    } else if constexpr (sizeof(T) == 8) {
      const double2 low = *reinterpret_cast<const double2*>(row.stored + c);
      const double2 high = *reinterpret_cast<const double2*>(row.stored + c + 2);
      to = {{low.x, low.y, high.x, high.y}};
    } else {
      const ushort4 raw = *reinterpret_cast<const ushort4*>(row.stored + c);
      to = {{widen(T{raw.x}), widen(T{raw.y}), widen(T{raw.z}), widen(T{raw.w})}};
    }
#pragma unroll
    for (int e = 0; e < 4; ++e) to.v[e] *= row.factor;
    return to;
  }
#pragma unroll
  for (int e = 0; e < 4; ++e)
    if (c + e < d) to.v[e] = row[c + e];
  return to;
}

// Rows that stand at data + position * d, position = index[i], or i without an index.
template <class T>
struct Rows {
  const T* data;
  const int64_t* index;
  int64_t size;
  int64_t d;
  const compute_t<T>* factor = nullptr;  // by position

  __device__ int64_t position(int64_t i) const { return index ? index[i] : i; }
  __device__ ScaledRow<T> at(int64_t position) const {
    return {data + position * d, factor ? factor[position] : compute_t<T>(1)};
  }
  __device__ ScaledRow<T> row(int64_t i) const { return at(position(i)); }
};

template <class T>
inline Rows<T> all_rows(const Matrix<T>& X) {
  return {X.data, nullptr, X.rows, X.cols, X.factor};
}

template <class T>
inline Rows<T> rows_listed(const Matrix<T>& X, const int64_t* index, int64_t size) {
  return {X.data, index, size, X.cols, X.factor};
}

// The rows of a Positions whose nullptr means all of X (candidates); a nullptr that means none has size 0 anyway.
template <class T>
inline Rows<T> rows_at(const Matrix<T>& X, const Positions& at) {
  return rows_listed(X, at.data, at.data ? at.size : X.rows);
}

// ---- reductions: every thread of the warp or the block takes part ----

template <class V>
__device__ inline V warp_sum(V value) {
#pragma unroll
  for (int offset = warp_size / 2; offset > 0; offset /= 2) value += lane_across(value, offset);
  return value;
}

template <class V>
__device__ inline V warp_min(V value) {
#pragma unroll
  for (int offset = warp_size / 2; offset > 0; offset /= 2) {
    const V other = lane_across(value, offset);
    value = other < value ? other : value;
  }
  return value;
}

// The least value of a block, known to all its threads. blockDim.x is a multiple of the warp size.
template <class V>
__device__ inline V block_min(V value) {
  __shared__ V shared[warp_size];
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const int n_warps = static_cast<int>(blockDim.x) / warp_size;
  value = warp_min(value);
  block_sync();  // a previous call may still be reading
  if (lane == 0) shared[warp] = value;
  block_sync();
  return warp_min(shared[lane < n_warps ? lane : 0]);
}

// Exclusive running sum over the threads of a block; total is the sum, both known to all.
__device__ inline int64_t block_exclusive_sum(int64_t value, int64_t& total) {
  __shared__ int64_t shared[warp_size];
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const int n_warps = static_cast<int>(blockDim.x) / warp_size;
  int64_t inclusive = value;
#pragma unroll
  for (int offset = 1; offset < warp_size; offset *= 2) {
    const int64_t below = lane_below(inclusive, offset);
    if (lane >= offset) inclusive += below;
  }
  block_sync();
  if (lane == warp_size - 1) shared[warp] = inclusive;
  block_sync();
  int64_t before = 0, all = 0;
  for (int w = 0; w < n_warps; ++w) {
    if (w < warp) before += shared[w];
    all += shared[w];
  }
  total = all;
  return before + inclusive - value;
}

template <class V>
struct Best {
  V value;
  int64_t position;
};

template <class V>
__device__ inline Best<V> worst_of_all() {
  return {below_all<V>, beyond_all};
}

template <class V>
__device__ inline Best<V> better(Best<V> a, Best<V> b) {
  return a.value > b.value || (a.value == b.value && a.position < b.position) ? a : b;
}

template <class V>
__device__ inline Best<V> warp_best(Best<V> mine) {
#pragma unroll
  for (int offset = warp_size / 2; offset > 0; offset /= 2) {
    const V value = lane_across(mine.value, offset);
    const int64_t position = lane_across(mine.position, offset);
    mine = better(mine, Best<V>{value, position});
  }
  return mine;
}

// The best of a block, known to all its threads.
template <class V>
__device__ inline Best<V> block_best(Best<V> mine) {
  __shared__ V values[warp_size];
  __shared__ int64_t positions[warp_size];
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const int n_warps = static_cast<int>(blockDim.x) / warp_size;
  mine = warp_best(mine);
  block_sync();
  if (lane == 0) {
    values[warp] = mine.value;
    positions[warp] = mine.position;
  }
  block_sync();
  const int from = lane < n_warps ? lane : 0;
  return warp_best(Best<V>{values[from], positions[from]});
}

template <class V>
struct GridBest {
  V* values;           // (max_partials,)
  int64_t* positions;  // (max_partials,)
  unsigned* arrived;   // of arrives_last

  explicit GridBest(Arena& arena)
      : values(arena.take<V>(max_partials)),
        positions(arena.take<int64_t>(max_partials)),
        arrived(arena.take<unsigned>(1)) {}
};

// True in all threads of one block of the grid, the last to come here: it sees all that the others wrote before.
// arrived is 0 before the launch and again after it.
__device__ inline bool arrives_last(unsigned* arrived) {
  __shared__ bool last;
  write_through();
  block_sync();
  if (threadIdx.x == 0) {
    last = atomic_add(arrived, 1u) == gridDim.x - 1;
    if (last) *arrived = 0;
  }
  block_sync();
  if (last) write_through();
  return last;
}

// The best of a grid of at most max_partials blocks. True in all threads of one block, and there best is the answer.
template <class V>
__device__ inline bool grid_best(Best<V>& best, const GridBest<V>& scratch) {
  best = block_best(best);
  if (threadIdx.x == 0) {
    scratch.values[blockIdx.x] = best.value;
    scratch.positions[blockIdx.x] = best.position;
  }
  if (!arrives_last(scratch.arrived)) return false;
  best = worst_of_all<V>();
  for (unsigned b = threadIdx.x; b < gridDim.x; b += blockDim.x) {
    best = better(best, Best<V>{read_fresh(scratch.values + b), read_fresh(scratch.positions + b)});
  }
  best = block_best(best);
  return true;
}

// ---- sums over the columns, one warp for R x K pairs of rows ----

struct SquaredDifference {
  template <class C>
  __device__ static C add(C a, C b, C sum) {
    const C difference = a - b;
    return fma(difference, difference, sum);
  }
};

struct Product {
  template <class C>
  __device__ static C add(C a, C b, C sum) {
    return fma(a, b, sum);
  }
};

// sums[r][k] over the columns of a[r] and b[k], the same in every lane. The order of summation depends on d and
// vectorized alone, not on R and K, so two ways to the same pair give the same bits.
template <class Term, int R, int K, class T>
__device__ inline void warp_pairs(const ScaledRow<T> (&a)[R], const ScaledRow<T> (&b)[K], int64_t d, bool vectorized,
                                  compute_t<T> (&sums)[R][K]) {
  using C = compute_t<T>;
  const int lane = threadIdx.x % warp_size;
#pragma unroll
  for (int r = 0; r < R; ++r)
#pragma unroll
    for (int k = 0; k < K; ++k) sums[r][k] = 0;
  if (vectorized) {
    for (int64_t c = 4 * lane; c < d; c += 4 * warp_size) {
      Quad<C> rows[R];
#pragma unroll
      for (int r = 0; r < R; ++r) rows[r] = load4(a[r], c, d, true);
#pragma unroll
      for (int k = 0; k < K; ++k) {
        const Quad<C> other = load4(b[k], c, d, true);
#pragma unroll
        for (int r = 0; r < R; ++r)
#pragma unroll
          for (int e = 0; e < 4; ++e) sums[r][k] = Term::add(rows[r].v[e], other.v[e], sums[r][k]);
      }
    }
  } else {
    for (int64_t c = lane; c < d; c += warp_size) {
      C rows[R];
#pragma unroll
      for (int r = 0; r < R; ++r) rows[r] = a[r][c];
#pragma unroll
      for (int k = 0; k < K; ++k) {
        const C other = b[k][c];
#pragma unroll
        for (int r = 0; r < R; ++r) sums[r][k] = Term::add(rows[r], other, sums[r][k]);
      }
    }
  }
#pragma unroll
  for (int r = 0; r < R; ++r)
#pragma unroll
    for (int k = 0; k < K; ++k) sums[r][k] = warp_sum(sums[r][k]);
}

}  // namespace pyal::cuda
