// One warp a candidate: a lane takes every 32nd mixture, four classes at a time, so that a mixture is read once for four.
#include "../cuda/warp.cuh"
#include "mixture_entropies.hpp"

namespace pyal::cuda {
namespace {

constexpr int at_once = 4;  // classes

__device__ double x_log_x(double x) { return x >= 0x1p-1022 ? x * log(x) : 0; }

// sum_j weights[j] sum_c x_log_x(sum_t mixtures[t, j] p_tc) over the mixtures of a lane and the classes [c0, c0 + at_once).
template <class T>
__device__ double mixed(const MixtureEntropiesParams<T>& p, const T* first, int64_t c0) {
  double sum = 0;
  for (int64_t j = threadIdx.x % warp_size; j < p.m; j += warp_size) {
    double q[at_once] = {};
    for (int64_t t = 0; t < p.X.rows; ++t) {
      const double share = p.mixtures[t * p.m + j];
#pragma unroll
      for (int u = 0; u < at_once; ++u)
        if (c0 + u < p.classes) q[u] = fma(share, static_cast<double>(widen(first[t * p.X.cols + c0 + u])), q[u]);
    }
#pragma unroll
    for (int u = 0; u < at_once; ++u) sum = fma(p.weights[j], x_log_x(q[u]), sum);
  }
  return sum;
}

template <class T>
__device__ double alone(const MixtureEntropiesParams<T>& p, const T* first) {
  double sum = 0;
  for (int64_t t = 0; t < p.X.rows; ++t)
    for (int64_t c = threadIdx.x % warp_size; c < p.classes; c += warp_size)
      sum = fma(p.weights[t], x_log_x(static_cast<double>(widen(first[t * p.X.cols + c]))), sum);
  return sum;
}

template <class T>
__global__ void mixture_entropies_kernel(MixtureEntropiesParams<T> p, int64_t n) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * warps + threadIdx.x / warp_size;
  if (i >= n) return;  // a whole warp at a time
  const T* first = p.X.data + (p.candidates.data ? p.candidates.data[i] : i) * p.classes;
  double sum = 0;
  if (!p.mixtures) sum = alone(p, first);
  for (int64_t c0 = 0; p.mixtures && c0 < p.classes; c0 += at_once) sum += mixed(p, first, c0);
  sum = warp_sum(sum);
  if (threadIdx.x % warp_size == 0) p.entropies[i] = -sum;
}

}  // namespace

template <class T>
int64_t mixture_entropies_scratch(const MixtureEntropiesParams<T>&) {
  return 0;
}

template <class T>
void mixture_entropies(const MixtureEntropiesParams<T>& p, void*, CUstream_st* stream) {
  const int64_t n = p.candidates.data ? p.candidates.size : p.X.cols / p.classes;
  if (n == 0) return;
  launch(mixture_entropies_kernel<T>, grid_for(n, warps), threads, stream, p, n);
}

PYAL_INSTANTIATE_CUDA_KERNEL(mixture_entropies, MixtureEntropiesParams)

}  // namespace pyal::cuda
