// Every row against every centre in tiles; the epilogue adds weighted distances.
#include "../cuda/tiles.cuh"
#include "sup_scores.hpp"

namespace pyal::cuda {
namespace {

// A warp per centre: its distances to the others, then their softmax.
template <class C>
__global__ void weights_kernel(const C* centers, int64_t k, int64_t d, double temperature, double* apart, C* weights) {
  const int lane = threadIdx.x % warp_size;
  const int64_t own = static_cast<int64_t>(blockIdx.x) * warps + threadIdx.x / warp_size;
  if (own >= k) return;
  apart += own * k;
  weights += own * k;
  double nearest = infinity<double>;
  for (int64_t c = 0; c < k; ++c) {
    double sq = 0;
    for (int64_t j = lane; j < d; j += warp_size) {
      const double difference = static_cast<double>(centers[own * d + j]) - static_cast<double>(centers[c * d + j]);
      sq = fma(difference, difference, sq);
    }
    const double distance = sqrt(warp_sum(sq));
    if (c != own && distance < nearest) nearest = distance;
    if (lane == 0) apart[c] = distance;
  }
  warp_sync();
  double sum = 0;
  for (int64_t c = lane; c < k; c += warp_size) {
    const double weight = c == own ? 0 : exp((nearest - apart[c]) / temperature);
    apart[c] = weight;
    sum += weight;
  }
  sum = warp_sum(sum);
  for (int64_t c = lane; c < k; c += warp_size) weights[c] = static_cast<C>(apart[c] / sum);
}

template <class C>
struct Layout {
  double* apart;  // (k, k) between centres
  C* weights;     // (k, k)

  Layout(int64_t k, Arena& arena) : apart(arena.take<double>(k * k)), weights(arena.take<C>(k * k)) {}
};

template <class T>
__global__ void __launch_bounds__(threads, 2)
    sup_scores_kernel(SupScoresParams<T> p, const compute_t<T>* all_weights, Rows<T> rows, Rows<compute_t<T>> centers, bool rows_vectorized,
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
      const C* weights = all_weights + p.assignment[row] * p.k;  // 0 for the own centre
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
int64_t sup_scores_scratch(const SupScoresParams<T>& p) {
  Arena arena(nullptr);
  Layout<compute_t<T>>(p.k, arena);
  return arena.bytes();
}

template <class T>
void sup_scores(const SupScoresParams<T>& p, void* scratch, CUstream_st* stream) {
  using C = compute_t<T>;
  const int64_t n = p.X.rows, d = p.X.cols;
  if (n == 0) return;
  Arena arena(scratch);
  const Layout<C> s(p.k, arena);
  launch(weights_kernel<C>, grid_for(p.k, warps), threads, stream, p.centers, p.k, d, p.temperature, s.apart,
         s.weights);
  const Rows<C> centers{p.centers, nullptr, p.k, d};
  launch(sup_scores_kernel<T>, grid_for(n, Tile<C>::rows), threads, stream, p, s.weights, all_rows(p.X), centers,
         vectorizable(p.X.data, d), vectorizable(p.centers, d));
}

PYAL_INSTANTIATE_CUDA_KERNEL(sup_scores, SupScoresParams)

}  // namespace pyal::cuda
