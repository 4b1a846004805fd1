// One block does all: the rows of X come one after the other, and the state of the sizes in question lies in L2.
#include "../cuda/warp.cuh"
#include "recursive_least_squares.hpp"

namespace pyal::cuda {
namespace {

constexpr int block = 1024;

struct Layout {
  double *x, *rest, *sum, *products;

  Layout(int64_t d, Arena& arena)
      : x(arena.take<double>(d)),
        rest(arena.take<double>(d)),
        sum(arena.take<double>(d)),
        products(arena.take<double>(d)) {}
};

__device__ double warp_dot(const double* a, const double* b, int64_t d) {
  double sum = 0;
  for (int64_t c = threadIdx.x % warp_size; c < d; c += warp_size) sum = fma(a[c], b[c], sum);
  return warp_sum(sum);
}

// Known to all threads; every warp sums for itself, in the same order.
__device__ double sqnorm(const double* v, int64_t d) { return warp_dot(v, v, d); }

// products = M v and sum = M' M v, of the first count rows of M.
__device__ void image(const double* M, int64_t count, int64_t d, const double* v, const Layout& s) {
  const int lane = threadIdx.x % warp_size;
  for (int64_t i = threadIdx.x / warp_size; i < count; i += block / warp_size) {
    const double product = warp_dot(M + i * d, v, d);
    if (lane == 0) s.products[i] = product;
  }
  block_sync();
  for (int64_t c = threadIdx.x; c < d; c += block) {
    double sum = 0;
    for (int64_t i = 0; i < count; ++i) sum = fma(s.products[i], M[i * d + c], sum);
    s.sum[c] = sum;
  }
  block_sync();
}

template <class T>
__global__ void __launch_bounds__(block) recursive_least_squares_kernel(RecursiveLeastSquaresParams<T> p, Layout s) {
  const int64_t d = p.X.cols;
  const int lane = threadIdx.x % warp_size;
  int64_t rank = p.counts[0], taken = 0;
  double scale = *p.scale;
  block_sync();  // everybody has read what the first thread writes in the end
  for (; taken < p.X.rows; ++taken) {
    for (int64_t c = threadIdx.x; c < d; c += block)
      s.rest[c] = s.x[c] = static_cast<double>(widen(p.X.data[taken * d + c]));
    block_sync();
    const double length = sqrt(sqnorm(s.x, d)), largest = length > scale ? length : scale;
    double left = 0;
    if (p.basis && rank < d) {
      for (int time = 0; time < 2; ++time) {
        image(p.basis, rank, d, s.rest, s);
        for (int64_t c = threadIdx.x; c < d; c += block) s.rest[c] -= s.sum[c];
        block_sync();
      }
      left = sqrt(sqnorm(s.rest, d));
      if (left > p.doubt_low * largest && left <= p.doubt_high * largest) break;
    }
    const bool grows = left > p.doubt_high * largest;
    image(p.root, rank, d, s.x, s);
    const double* direction = grows ? s.rest : s.sum;
    const double shrink = 1 / (1 + sqnorm(s.products, rank));
    const double times = grows ? 1 / (left * left) : shrink;
    const double lost = grows ? times : shrink / (1 + sqrt(shrink));
    for (int64_t i = threadIdx.x / warp_size; i < rank; i += block / warp_size)
      for (int64_t c = lane; c < d; c += warp_size)
        p.root[i * d + c] = fma(-lost * s.products[i], direction[c], p.root[i * d + c]);
    if (grows)
      for (int64_t c = threadIdx.x; c < d; c += block) {
        p.root[rank * d + c] = times * s.rest[c];
        p.basis[rank * d + c] = s.rest[c] / left;
      }
    for (int64_t k = threadIdx.x / warp_size; k < p.C; k += block / warp_size) {
      double* coef = p.coef + k * d;
      const double step = (p.targets[taken * p.C + k] - warp_dot(coef, s.x, d)) * times;
      for (int64_t c = lane; c < d; c += warp_size) coef[c] = fma(step, direction[c], coef[c]);
    }
    rank += grows;
    scale = largest;
    block_sync();
  }
  if (threadIdx.x == 0) {
    p.counts[0] = rank;
    p.counts[1] = taken;
    *p.scale = scale;
  }
}

}  // namespace

template <class T>
int64_t recursive_least_squares_scratch(const RecursiveLeastSquaresParams<T>& p) {
  Arena arena(nullptr);
  Layout(p.X.cols, arena);
  return arena.bytes();
}

template <class T>
void recursive_least_squares(const RecursiveLeastSquaresParams<T>& p, void* scratch, CUstream_st* stream) {
  Arena arena(scratch);
  const Layout s(p.X.cols, arena);
  launch(recursive_least_squares_kernel<T>, 1, block, stream, p, s);
}

PYAL_INSTANTIATE_CUDA_KERNEL(recursive_least_squares, RecursiveLeastSquaresParams)

}  // namespace pyal::cuda
