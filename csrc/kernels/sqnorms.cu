// One warp a row; four columns a lane and step.
#include "../cuda/warp.cuh"
#include "sqnorms.hpp"

namespace pyal::cuda {
namespace {

template <class T>
__global__ void sqnorms_kernel(SqnormsParams<T> p, bool vectorized) {
  const int lane = threadIdx.x % warp_size;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * warps + threadIdx.x / warp_size;
  if (i >= p.X.rows) return;  // a whole warp at a time
  const T* row = p.X.data + i * p.X.cols;
  double sum = 0;
  for (int64_t c = 4 * lane; c < p.X.cols; c += 4 * warp_size) {
    const auto four = load4(row, c, p.X.cols, vectorized);
#pragma unroll
    for (int e = 0; e < 4; ++e) sum = fma(static_cast<double>(four.v[e]), static_cast<double>(four.v[e]), sum);
  }
  sum = warp_sum(sum);
  if (lane == 0) p.sqnorms[i] = sum;
}

}  // namespace

template <class T>
int64_t sqnorms_scratch(const SqnormsParams<T>&) {
  return 0;
}

template <class T>
void sqnorms(const SqnormsParams<T>& p, void*, CUstream_st* stream) {
  if (p.X.rows == 0) return;
  launch(sqnorms_kernel<T>, grid_for(p.X.rows, warps), threads, stream, p, vectorizable(p.X.data, p.X.cols));
}

PYAL_INSTANTIATE_CUDA_KERNEL(sqnorms, SqnormsParams)

}  // namespace pyal::cuda
