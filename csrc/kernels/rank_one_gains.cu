// One warp a candidate: a lane takes every 32nd held-out row, whose scores lie beside those of its neighbours.
#include "../cuda/warp.cuh"
#include "rank_one_gains.hpp"

namespace pyal::cuda {
namespace {

template <class T>
__global__ void rank_one_gains_kernel(RankOneGainsParams<T> p) {
  const int64_t j = static_cast<int64_t>(blockIdx.x) * warps + threadIdx.x / warp_size, V = p.X.cols;
  if (j >= p.X.rows) return;  // a whole warp at a time
  const T* moves = p.X.data + j * V;
  const double* errors = p.errors + j * p.C;
  double loss = 0;
  int64_t correct = 0;
  for (int64_t v = threadIdx.x % warp_size; v < V; v += warp_size) {
    const double move = static_cast<double>(widen(moves[v]));
    const int64_t label = p.labels[v];
    double largest = fma(move, errors[0], p.scores[v]), total = 0;
    int64_t predicted = 0;
    for (int64_t c = 1; c < p.C; ++c) {
      const double after = fma(move, errors[c], p.scores[c * V + v]);
      if (after > largest) {
        largest = after;
        predicted = c;
      }
    }
    for (int64_t c = 0; c < p.C; ++c) total += exp((fma(move, errors[c], p.scores[c * V + v]) - largest) * p.scale);
    const double own = fma(move, errors[label], p.scores[label * V + v]);
    const double of_row = log(total) - (own - largest) * p.scale;
    loss += of_row < p.cap ? of_row : p.cap;
    correct += predicted == label;
  }
  loss = warp_sum(loss);
  correct = warp_sum(correct);
  if (threadIdx.x % warp_size != 0) return;
  p.loss[j] = loss / static_cast<double>(V);
  p.correct[j] = correct;
}

}  // namespace

template <class T>
int64_t rank_one_gains_scratch(const RankOneGainsParams<T>&) {
  return 0;
}

template <class T>
void rank_one_gains(const RankOneGainsParams<T>& p, void*, CUstream_st* stream) {
  if (p.X.rows == 0) return;
  launch(rank_one_gains_kernel<T>, grid_for(p.X.rows, warps), threads, stream, p);
}

PYAL_INSTANTIATE_CUDA_KERNEL(rank_one_gains, RankOneGainsParams)

}  // namespace pyal::cuda
