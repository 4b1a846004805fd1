// Four rows a warp and one read of X a pick: each launch compares all candidates with the last pick, and its last block
// takes the best of them as the next, so batch_size picks are batch_size launches and the host never looks.
// A pick gets m = -1, below every distance, and stays there.
#include "../warp.cuh"
#include "k_center_greedy.hpp"

namespace pyal::cuda {
namespace {

constexpr int group = 4;  // rows of a warp at a time: as many independent loads in flight

template <class T>
struct Scratch {
  using C = compute_t<T>;
  Rows<T> rows;  // the candidates
  bool vectorized;
  Arena arena;
  C* m;
  GridBest<C> best;

  Scratch(const KCenterGreedyParams<T>& p, void* base)
      : rows(rows_at(p.X, p.candidates)),
        vectorized(vectorizable(p.X.data, p.X.cols)),
        arena(base),
        m(arena.take<C>(rows.size)),
        best(arena) {}
};

// The first of the warp's rows, and how far to the next.
__device__ int64_t first_row() { return (static_cast<int64_t>(blockIdx.x) * warps + threadIdx.x / warp_size) * group; }
__device__ int64_t row_step() { return static_cast<int64_t>(gridDim.x) * warps * group; }

// The rows of the warp; those beyond the end repeat the last one.
template <class T>
__device__ void group_rows(const Rows<T>& rows, int64_t first, const T* (&row)[group]) {
#pragma unroll
  for (int r = 0; r < group; ++r) row[r] = rows.row(min(first + r, rows.size - 1));
}

template <class T>
__global__ void k_center_cover_kernel(Rows<T> rows, Rows<T> covered, bool vectorized, compute_t<T>* m) {
  using C = compute_t<T>;
  const int lane = threadIdx.x % warp_size;
  for (int64_t first = first_row(); first < rows.size; first += row_step()) {
    const T* row[group];
    group_rows(rows, first, row);
    C least[group];
#pragma unroll
    for (int r = 0; r < group; ++r) least[r] = infinity<C>;
    for (int64_t c = 0; c < covered.size; c += group) {
      const T* center[group];
      group_rows(covered, c, center);
      C sqdist[group][group];
      warp_pairs<SquaredDifference>(row, center, rows.d, vectorized, sqdist);
#pragma unroll
      for (int r = 0; r < group; ++r)
#pragma unroll
        for (int k = 0; k < group; ++k) least[r] = min(least[r], sqdist[r][k]);
    }
#pragma unroll
    for (int r = 0; r < group; ++r)
      if (lane == r && first + r < rows.size) m[first + r] = least[r];
  }
}

// Brings m up to date with the last pick and makes pick t.
template <class T>
__global__ void k_center_step_kernel(KCenterGreedyParams<T> p, Rows<T> rows, bool vectorized, compute_t<T>* m,
                                     GridBest<compute_t<T>> scratch, int64_t t) {
  using C = compute_t<T>;
  const int lane = threadIdx.x % warp_size;
  Best<C> best = worst_of_all<C>();
  const T* center[1] = {t > 0 ? p.X.data + p.positions[t - 1] * p.X.cols : nullptr};
  for (int64_t first = first_row(); first < rows.size; first += row_step()) {
    C sqdist[group][1];
    if (t > 0) {
      const T* row[group];
      group_rows(rows, first, row);
      warp_pairs<SquaredDifference>(row, center, rows.d, vectorized, sqdist);
    }
#pragma unroll
    for (int r = 0; r < group; ++r) {
      if (lane != r || first + r >= rows.size) continue;
      C value = m[first + r];
      if (t > 0 && sqdist[r][0] < value) m[first + r] = value = sqdist[r][0];
      best = better(best, Best<C>{value, first + r});
    }
  }
  if (!grid_best(best, scratch)) return;
  if (threadIdx.x != 0) return;
  if (t == 0 && p.start >= 0) {
    int64_t low = 0, high = rows.size;  // the candidates ascend
    while (low < high) {
      const int64_t middle = low + (high - low) / 2;
      if (rows.position(middle) < p.start)
        low = middle + 1;
      else
        high = middle;
    }
    best.position = min(low, rows.size - 1);
    best.value = m[best.position];
  }
  p.positions[t] = rows.position(best.position);
  p.sqradius[t] = best.value;
  m[best.position] = -1;
}

}  // namespace

template <class T>
int64_t k_center_greedy_scratch(const KCenterGreedyParams<T>& p) {
  return Scratch<T>(p, nullptr).arena.bytes();
}

template <class T>
void k_center_greedy(const KCenterGreedyParams<T>& p, void* scratch, CUstream_st* stream) {
  const Scratch<T> s(p, scratch);
  if (p.batch_size == 0 || s.rows.size == 0) return;
  const Rows<T> covered{p.X.data, p.covered.data, p.covered.size, p.X.cols};
  const unsigned grid = grid_for(s.rows.size, warps * group, max_partials);
  check(cudaMemsetAsync(s.best.arrived, 0, sizeof(unsigned), stream));
  k_center_cover_kernel<<<grid, threads, 0, stream>>>(s.rows, covered, s.vectorized, s.m);
  launched();
  for (int64_t t = 0; t < p.batch_size; ++t) {
    k_center_step_kernel<<<grid, threads, 0, stream>>>(p, s.rows, s.vectorized, s.m, s.best, t);
    launched();
  }
}

PYAL_INSTANTIATE_CUDA_KERNEL(k_center_greedy, KCenterGreedyParams)

}  // namespace pyal::cuda
