// One self-join over the tiles of the upper triangle, each pair within the radius linked as it is found: a forest in `first`,
// where a root is hung below a lower one by an atomic exchange, and in the end every row is told its root. Which threads come
// first changes the forest on the way, and not its roots.
#include "../cuda/tiles.cuh"
#include "radius_groups.hpp"

namespace pyal::cuda {
namespace {

// Parents are read where other blocks write them: what is read late is a way up still.
__device__ int64_t root_of(const int64_t* parent, int64_t i) {
  for (int64_t up = read_fresh(parent + i); up != i; up = read_fresh(parent + i)) i = up;
  return i;
}

__device__ void link(int64_t* parent, int64_t a, int64_t b) {
  for (;;) {
    a = root_of(parent, a);
    b = root_of(parent, b);
    if (a == b) return;
    const int64_t high = max(a, b), low = min(a, b);
    if (atomic_exchange_if(parent + high, high, low) == high) return;
  }
}

__global__ void radius_groups_begin_kernel(int64_t* parent, int64_t n) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (i < n) parent[i] = i;
}

// What others write meanwhile are roots too.
__global__ void radius_groups_end_kernel(int64_t* parent, int64_t n) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (i < n) parent[i] = root_of(parent, i);
}

template <class T>
__global__ void __launch_bounds__(threads, 2)
    radius_groups_kernel(Rows<T> rows, bool vectorized, double sqradius, int64_t* parent) {
  using C = compute_t<T>;
  using Shape = Tile<C>;
  __shared__ typename Shape::Memory memory;
  const int64_t a0 = static_cast<int64_t>(blockIdx.x) * Shape::rows;
  for (int64_t b0 = a0 / Shape::cols * Shape::cols; b0 < rows.size; b0 += Shape::cols) {
    C sqdist[Shape::R][Shape::S];
    tile_sqdists(rows, a0, vectorized, rows, b0, vectorized, memory, sqdist);
#pragma unroll
    for (int i = 0; i < Shape::R; ++i)
#pragma unroll
      for (int j = 0; j < Shape::S; ++j) {
        const int64_t a = a0 + Shape::row() + i, b = b0 + Shape::col() + j;
        if (a < b && b < rows.size && static_cast<double>(sqdist[i][j]) <= sqradius) link(parent, a, b);
      }
  }
}

}  // namespace

template <class T>
int64_t radius_groups_scratch(const RadiusGroupsParams<T>&) {
  return 0;
}

template <class T>
void radius_groups(const RadiusGroupsParams<T>& p, void*, CUstream_st* stream) {
  const int64_t n = p.X.rows;
  if (n == 0) return;
  const unsigned by_row = grid_for(n, threads);
  launch(radius_groups_begin_kernel, by_row, threads, stream, p.first, n);
  launch(radius_groups_kernel<T>, grid_for(n, Tile<compute_t<T>>::rows), threads, stream, all_rows(p.X),
         vectorizable(p.X.data, p.X.cols), p.sqradius, p.first);
  launch(radius_groups_end_kernel, by_row, threads, stream, p.first, n);
}

PYAL_INSTANTIATE_CUDA_KERNEL(radius_groups, RadiusGroupsParams)

}  // namespace pyal::cuda
