// One warp a row; four columns a lane and step.
#include "../cuda/warp.cuh"
#include "sqnorms.hpp"

namespace pyal::cuda {
namespace {

template <class T>
__global__ void sqnorms_kernel(Rows<T> rows, bool vectorized, double* sqnorms) {
  const int lane = threadIdx.x % warp_size;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * warps + threadIdx.x / warp_size;
  if (i >= rows.size) return;  // a whole warp at a time
  const ScaledRow<T> row = rows.at(i);
  double sum = 0;
  for (int64_t c = 4 * lane; c < rows.d; c += 4 * warp_size) {
    const auto four = load4(row, c, rows.d, vectorized);
#pragma unroll
    for (int e = 0; e < 4; ++e) sum = fma(static_cast<double>(four.v[e]), static_cast<double>(four.v[e]), sum);
  }
  sum = warp_sum(sum);
  if (lane == 0) sqnorms[i] = sum;
}

}  // namespace

template <class T>
int64_t sqnorms_scratch(const SqnormsParams<T>&) {
  return 0;
}

template <class T>
void sqnorms(const SqnormsParams<T>& p, void*, CUstream_st* stream) {
  if (p.X.rows == 0) return;
  launch(sqnorms_kernel<T>, grid_for(p.X.rows, warps), threads, stream, all_rows(p.X), vectorizable(p.X.data, p.X.cols),
         p.sqnorms);
}

PYAL_INSTANTIATE_CUDA_KERNEL(sqnorms, SqnormsParams)

}  // namespace pyal::cuda
