// Every row against every centre in tiles; the epilogue adds weighted distances.
#include "../tiles.cuh"
#include "sup_scores.hpp"

namespace pyal::cuda {
namespace {

template <class T>
__global__ void __launch_bounds__(threads, 2)
    sup_scores_kernel(SupScoresParams<T> p, Rows<T> rows, Rows<compute_t<T>> centers, bool rows_vectorized,
                      bool centers_vectorized) {
  using C = compute_t<T>;
  using Shape = Tile<C>;
  __shared__ typename Shape::Memory memory;
  const int64_t a0 = static_cast<int64_t>(blockIdx.x) * Shape::rows;
  C sums[Shape::R] = {};
  for (int64_t b0 = 0; b0 < p.k; b0 += Shape::cols) {
    C sqdist[Shape::R][Shape::S];
    tile_sqdists(rows, a0, rows_vectorized, centers, b0, centers_vectorized, memory, sqdist);
#pragma unroll
    for (int i = 0; i < Shape::R; ++i) {
      const int64_t row = a0 + Shape::row() + i;
      if (row >= rows.size) continue;
      const C* weights = p.weights + p.assignment[row] * p.k;  // 0 for the own centre
#pragma unroll
      for (int j = 0; j < Shape::S; ++j) {
        const int64_t c = b0 + Shape::col() + j;
        const C weight = c < p.k ? weights[c] : C(0);
        if (weight > 0) sums[i] = fma(weight, sqrt(sqdist[i][j]), sums[i]);
      }
    }
  }
#pragma unroll
  for (int i = 0; i < Shape::R; ++i) {
    const C sum = tile_row_reduce(sums[i], [](C a, C b) { return a + b; });
    const int64_t row = a0 + Shape::row() + i;
    if (threadIdx.x % tile_lanes == 0 && row < rows.size) p.scores[row] = 1 / sum;
  }
}

}  // namespace

template <class T>
int64_t sup_scores_scratch(const SupScoresParams<T>&) {
  return 0;
}

template <class T>
void sup_scores(const SupScoresParams<T>& p, void*, CUstream_st* stream) {
  using C = compute_t<T>;
  const int64_t n = p.X.rows, d = p.X.cols;
  if (n == 0) return;
  const Rows<C> centers{p.centers, nullptr, p.k, d};
  sup_scores_kernel<<<grid_for(n, Tile<C>::rows), threads, 0, stream>>>(
      p, all_rows(p.X), centers, vectorizable(p.X.data, d), vectorizable(p.centers, d));
  launched();
}

PYAL_INSTANTIATE_CUDA_KERNEL(sup_scores, SupScoresParams)

}  // namespace pyal::cuda
