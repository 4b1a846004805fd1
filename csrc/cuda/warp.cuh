// What every CUDA kernel here needs: checked launches, widening loads, scratch carved from one address, reductions of a
// warp, a block and a whole grid, and sums over d by one warp for several pairs of rows at once.
//
// A grid reduction ends in the block that arrives last (counted by one atomic), so a greedy pick costs one launch and
// the host never looks. The order of arrival decides only who does the last step, never what comes out: (value,
// position) pairs are compared in full, and ties go to the lowest position.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <source_location>
#include <stdexcept>
#include <string>

#include "../storage.hpp"

namespace pyal::cuda {

// ---- host ----

inline void check(cudaError_t status, std::source_location where = std::source_location::current()) {
  if (status == cudaSuccess) return;
  throw std::runtime_error(std::string("CUDA: ") + cudaGetErrorString(status) + " (" + where.file_name() + ":" +
                           std::to_string(where.line()) + ")");
}

// After every launch.
inline void launched(std::source_location where = std::source_location::current()) { check(cudaGetLastError(), where); }

inline constexpr int warp_size = 32;
inline constexpr int threads = 256;  // of a block, unless a launch says otherwise
inline constexpr int warps = threads / warp_size;
inline constexpr int max_partials = 1024;  // blocks of a grid that ends in grid_best

__host__ __device__ constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Blocks for so many items, capped where a kernel strides over its items.
inline unsigned grid_for(int64_t items, int64_t per_block, int64_t cap = std::numeric_limits<int>::max()) {
  return static_cast<unsigned>(std::clamp<int64_t>(ceil_div(items, per_block), 1, cap));
}

// The instances of a CUDA kernel: the storage types, like those of the CPU.
#define PYAL_INSTANTIATE_CUDA_TYPE(kernel, Params, T)    \
  template int64_t kernel##_scratch(const Params<T>&); \
  template void kernel(const Params<T>&, void* scratch, CUstream_st* stream);

#define PYAL_INSTANTIATE_CUDA_KERNEL(kernel, Params)   \
  PYAL_INSTANTIATE_CUDA_TYPE(kernel, Params, float)  \
  PYAL_INSTANTIATE_CUDA_TYPE(kernel, Params, double) \
  PYAL_INSTANTIATE_CUDA_TYPE(kernel, Params, half)   \
  PYAL_INSTANTIATE_CUDA_TYPE(kernel, Params, bfloat16)

// Carves 256-byte aligned pieces. With base == nullptr it only counts, which is how K_scratch asks for its size.
class Arena {
 public:
  explicit Arena(void* base) : base_(reinterpret_cast<uintptr_t>(base)) {}

  template <class V>
  V* take(int64_t count) {
    V* piece = reinterpret_cast<V*>(base_ + static_cast<uintptr_t>(bytes_));
    bytes_ += ceil_div(count * static_cast<int64_t>(sizeof(V)), 256) * 256;
    return piece;
  }

  int64_t bytes() const { return bytes_; }

 private:
  uintptr_t base_;
  int64_t bytes_ = 0;
};

// ---- values ----

inline constexpr unsigned full_mask = 0xffffffffu;

// Constants rather than calls: device code may not call the functions of std::numeric_limits.
template <class C>
inline constexpr C infinity = std::numeric_limits<C>::infinity();
template <class C>
inline constexpr C epsilon = std::numeric_limits<C>::epsilon();
template <class V>
inline constexpr V below_all = std::numeric_limits<V>::has_infinity ? -std::numeric_limits<V>::infinity()
                                                                    : std::numeric_limits<V>::lowest();
inline constexpr int64_t beyond_all = std::numeric_limits<int64_t>::max();

__device__ inline float widen(float value) { return value; }
__device__ inline double widen(double value) { return value; }
__device__ inline float widen(half value) { return __half2float(__ushort_as_half(value.bits)); }
__device__ inline float widen(bfloat16 value) { return __uint_as_float(static_cast<unsigned>(value.bits) << 16); }

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

// Columns c .. c + 3 of a row of d columns, zero beyond it.
template <class T>
__device__ inline Quad<compute_t<T>> load4(const T* row, int64_t c, int64_t d, bool vectorized) {
  Quad<compute_t<T>> to = {};
  if (vectorized) {
    if (c >= d) return to;
    if constexpr (sizeof(T) == 4) {
      const float4 raw = *reinterpret_cast<const float4*>(row + c);
      to = {{raw.x, raw.y, raw.z, raw.w}};
    } else if constexpr (sizeof(T) == 8) {
      const double2 low = *reinterpret_cast<const double2*>(row + c);
      const double2 high = *reinterpret_cast<const double2*>(row + c + 2);
      to = {{low.x, low.y, high.x, high.y}};
    } else {
      const ushort4 raw = *reinterpret_cast<const ushort4*>(row + c);
      to = {{widen(T{raw.x}), widen(T{raw.y}), widen(T{raw.z}), widen(T{raw.w})}};
    }
    return to;
  }
#pragma unroll
  for (int e = 0; e < 4; ++e)
    if (c + e < d) to.v[e] = widen(row[c + e]);
  return to;
}

// Rows that stand at data + position * d, position = index[i], or i without an index.
template <class T>
struct Rows {
  const T* data;
  const int64_t* index;
  int64_t size;
  int64_t d;

  __device__ int64_t position(int64_t i) const { return index ? index[i] : i; }
  __device__ const T* row(int64_t i) const { return data + position(i) * d; }
};

template <class T>
inline Rows<T> all_rows(const Matrix<T>& X) {
  return {X.data, nullptr, X.rows, X.cols};
}

// The rows of a Positions whose nullptr means all of X (candidates); a nullptr that means none has size 0 anyway.
template <class T>
inline Rows<T> rows_at(const Matrix<T>& X, const Positions& at) {
  return {X.data, at.data, at.data ? at.size : X.rows, X.cols};
}

// ---- reductions: every thread of the warp or the block takes part ----

template <class V>
__device__ inline V warp_sum(V value) {
#pragma unroll
  for (int offset = warp_size / 2; offset > 0; offset /= 2) value += __shfl_xor_sync(full_mask, value, offset);
  return value;
}

template <class V>
__device__ inline V warp_min(V value) {
#pragma unroll
  for (int offset = warp_size / 2; offset > 0; offset /= 2) {
    const V other = __shfl_xor_sync(full_mask, value, offset);
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
  __syncthreads();  // a previous call may still be reading
  if (lane == 0) shared[warp] = value;
  __syncthreads();
  return warp_min(shared[lane < n_warps ? lane : 0]);
}

// Exclusive running sum over the threads of a block; total is the sum, both known to all.
__device__ inline int64_t block_exclusive_sum(int64_t value, int64_t& total) {
  __shared__ long long shared[warp_size];
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const int n_warps = static_cast<int>(blockDim.x) / warp_size;
  long long inclusive = value;
#pragma unroll
  for (int offset = 1; offset < warp_size; offset *= 2) {
    const long long below = __shfl_up_sync(full_mask, inclusive, offset);
    if (lane >= offset) inclusive += below;
  }
  __syncthreads();
  if (lane == warp_size - 1) shared[warp] = inclusive;
  __syncthreads();
  long long before = 0, all = 0;
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
    const V value = __shfl_xor_sync(full_mask, mine.value, offset);
    const long long position = __shfl_xor_sync(full_mask, static_cast<long long>(mine.position), offset);
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
  __syncthreads();
  if (lane == 0) {
    values[warp] = mine.value;
    positions[warp] = mine.position;
  }
  __syncthreads();
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
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    last = atomicAdd(arrived, 1u) == gridDim.x - 1;
    if (last) *arrived = 0;
  }
  __syncthreads();
  if (last) __threadfence();
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
  const volatile V* values = scratch.values;  // not from a cache that other blocks do not write to
  const volatile int64_t* positions = scratch.positions;
  best = worst_of_all<V>();
  for (unsigned b = threadIdx.x; b < gridDim.x; b += blockDim.x) {
    const V value = values[b];
    const int64_t position = positions[b];
    best = better(best, Best<V>{value, position});
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
__device__ inline void warp_pairs(const T* const (&a)[R], const T* const (&b)[K], int64_t d, bool vectorized,
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
      for (int r = 0; r < R; ++r) rows[r] = widen(a[r][c]);
#pragma unroll
      for (int k = 0; k < K; ++k) {
        const C other = widen(b[k][c]);
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
