// Tiles of distances; a warp owns 16 (double: 8) whole rows of the tile and their lists. A distance below the worst of
// its row's list is inserted by the warp, which shifts the tail of the sorted list by one place, 32 entries at a time:
// any k, and after the first few tiles almost no insertions. The columns of a row come in ascending order, so a strict
// comparison keeps the lower position of a tie.
//
// Where the tiles of A are few, the tiles of B are split among several blocks. Each block has its own lists, which are merged at
// the end.
#include "../cuda/tiles.cuh"
#include "knn.hpp"

namespace pyal::cuda {
namespace {

template <class C>
struct List {
  C* sqdist;
  int64_t* positions;
  int64_t k;
};

// splits x (m, k) lists: the outputs themselves when splits is 1.
template <class C>
struct Lists {
  C* sqdist;
  int64_t* positions;
  int64_t m, k;

  __device__ List<C> of(int64_t split, int64_t row) const {
    const int64_t offset = (split * m + row) * k;
    return {sqdist + offset, positions + offset, k};
  }
};

template <class T>
struct Scratch {
  using C = compute_t<T>;
  Arena arena;
  int64_t a_tiles, splits;
  int64_t* owner;  // (order,) which group a place in order belongs to
  Lists<C> lists;

  Scratch(const KnnParams<T>& p, void* base)
      : arena(base),
        a_tiles(ceil_div(p.queries.rows, Tile<C>::rows)),
        splits(tile_splits(a_tiles, min(ceil_div(p.X.rows, Tile<C>::cols), p.X.rows / (4 * p.k)))),
        owner(arena.take<int64_t>(p.order ? p.X.rows : 0)),
        lists{p.sqdist, p.positions, p.queries.rows, p.k} {
    if (splits == 1) return;
    lists.sqdist = arena.take<C>(splits * p.queries.rows * p.k);
    lists.positions = arena.take<int64_t>(splits * p.queries.rows * p.k);
  }
};

// Puts value where it belongs, after its equals, and drops the last; returns what is now the last. By a whole warp.
template <class C>
__device__ C insert(const List<C>& list, C value, int64_t position) {
  const int lane = threadIdx.x % warp_size;
  const int64_t top = (list.k - 1) / warp_size * warp_size;
  C worst = infinity<C>;
  for (int64_t base = top; base >= 0; base -= warp_size) {
    const int64_t at = base + lane;
    const bool inside = at < list.k;
    C here = inside ? list.sqdist[at] : infinity<C>;
    const int64_t here_position = inside ? list.positions[at] : -1;
    const bool moves = here > value;
    C below = lane_below(here, 1);
    int64_t below_position = lane_below(here_position, 1);
    if (lane == 0) {
      below = base > 0 ? list.sqdist[base - 1] : -infinity<C>;
      below_position = base > 0 ? list.positions[base - 1] : -1;
    }
    warp_sync();
    if (inside && moves) {
      here = below > value ? below : value;
      list.sqdist[at] = here;
      list.positions[at] = below > value ? below_position : position;
    }
    if (base == top) worst = lane_value(here, static_cast<int>(list.k - 1 - top));
    warp_sync();
    if (!lane_value(moves, 0)) break;
  }
  return worst;
}

template <class C>
__global__ void knn_clear_kernel(C* sqdist, int64_t* positions, int64_t size) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * threads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x; i < size; i += stride) {
    sqdist[i] = infinity<C>;
    positions[i] = -1;
  }
}

__global__ void knn_owner_kernel(const int64_t* group_start, int64_t n_groups, int64_t n, int64_t* owner) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (i >= min(group_start[n_groups], n)) return;
  int64_t low = 0, high = n_groups;  // the last group that starts at or before i; empty ones start with their successor
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    if (group_start[middle] <= i)
      low = middle;
    else
      high = middle;
  }
  owner[i] = low;
}

template <class T>
struct Sides {
  Rows<T> a, b;
  bool a_vectorized, b_vectorized;
};

template <class T>
__device__ bool may_be_neighbors(const KnnParams<T>& p, const int64_t* owner, const Sides<T>& s, int64_t i, int64_t j) {
  if (p.order && owner[i] != owner[j]) return false;
  const int64_t row = s.a.position(i), other = s.b.position(j);
  if (!p.queries.data && row == other) return false;
  return !p.labels || p.labels[row] != p.labels[other];
}

template <class T>
__global__ void __launch_bounds__(threads, 2)
    knn_kernel(KnnParams<T> p, Sides<T> s, const int64_t* owner, Lists<compute_t<T>> lists) {
  using C = compute_t<T>;
  using Shape = Tile<C>;
  __shared__ typename Shape::Memory memory;
  __shared__ C offers[warps][2][Shape::cols];
  __shared__ C worst[Shape::rows];  // of each row's list; like the offers, read and written by the row's warp alone
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size, half = lane / tile_lanes;

  const int64_t a0 = static_cast<int64_t>(blockIdx.x) * Shape::rows, split = blockIdx.y, splits = gridDim.y;
  int64_t first = 0;
  if (p.order) s.a.size = p.group_start[p.n_groups];
  if (a0 >= s.a.size) return;
  if (p.order) {
    first = p.group_start[owner[a0]];
    s.b.size = p.group_start[owner[min(a0 + Shape::rows, s.a.size) - 1] + 1];
  }
  const int64_t tiles = ceil_div(s.b.size - first, Shape::cols);

  if (threadIdx.x < Shape::rows) worst[threadIdx.x] = infinity<C>;
  block_sync();
  for (int64_t tile = tiles * split / splits; tile < tiles * (split + 1) / splits; ++tile) {
    const int64_t b0 = first + tile * Shape::cols;
    C sqdist[Shape::R][Shape::S];
    tile_sqdists(s.a, a0, s.a_vectorized, s.b, b0, s.b_vectorized, memory, sqdist);
#pragma unroll
    for (int i = 0; i < Shape::R; ++i) {
      const int64_t slot = a0 + Shape::row() + i;
      const C bound = worst[Shape::row() + i];
      bool any = false;
#pragma unroll
      for (int j = 0; j < Shape::S; ++j) {
        const int64_t column = b0 + Shape::col() + j;
        const bool offered = sqdist[i][j] < bound && slot < s.a.size && column < s.b.size &&
                             may_be_neighbors(p, owner, s, slot, column);
        if (!offered) sqdist[i][j] = infinity<C>;
        any = any || offered;
      }
      if (!lanes_any(any)) continue;
#pragma unroll
      for (int j = 0; j < Shape::S; ++j) offers[warp][half][Shape::col() + j] = sqdist[i][j];
      warp_sync();
#pragma unroll 1
      for (int h = 0; h < 2; ++h) {
        const int row = (2 * warp + h) * Shape::R + i;
        C last = worst[row];
#pragma unroll 1
        for (int base = 0; base < Shape::cols; base += warp_size) {
          const C value = offers[warp][h][base + lane];
          unsigned offered = lanes_where(value < last);
          while (offered) {
            const int from = lowest_bit(offered);
            offered &= offered - 1;
            const C next = lane_value(value, from);
            if (next < last)
              last = insert(lists.of(split, s.a.position(a0 + row)), next, s.b.position(b0 + base + from));
          }
        }
        warp_sync();
        if (lane == 0) worst[row] = last;
      }
      warp_sync();
    }
  }
}

// One warp a row: the lists of later splits hold higher positions, so they are inserted after equals.
template <class C>
__global__ void knn_merge_kernel(Lists<C> lists, int64_t splits, Lists<C> out) {
  const int lane = threadIdx.x % warp_size;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * warps + threadIdx.x / warp_size;
  if (row >= out.m) return;
  const List<C> to = out.of(0, row), first = lists.of(0, row);
  for (int64_t r = lane; r < to.k; r += warp_size) {
    to.sqdist[r] = first.sqdist[r];
    to.positions[r] = first.positions[r];
  }
  C worst = first.sqdist[to.k - 1];
  warp_sync();
  for (int64_t split = 1; split < splits; ++split) {
    const List<C> from = lists.of(split, row);
    for (int64_t r = 0; r < from.k && from.sqdist[r] < worst; ++r)
      worst = insert(to, from.sqdist[r], from.positions[r]);
  }
}

}  // namespace

template <class T>
int64_t knn_scratch(const KnnParams<T>& p) {
  return Scratch<T>(p, nullptr).arena.bytes();
}

template <class T>
void knn(const KnnParams<T>& p, void* scratch, CUstream_st* stream) {
  using C = compute_t<T>;
  const Scratch<T> s(p, scratch);
  if (p.queries.rows == 0) return;
  const int64_t size = s.splits * p.queries.rows * p.k;
  launch(knn_clear_kernel<C>,
         grid_for(size, threads, 1 << 20), threads, stream, s.lists.sqdist, s.lists.positions, size);
  if (p.X.rows == 0) return;
  if (p.order) {
    launch(knn_owner_kernel, grid_for(p.X.rows, threads), threads, stream, p.group_start, p.n_groups, p.X.rows,
           s.owner);
  }
  const Matrix<T>& queries = p.queries.data ? p.queries : p.X;
  const Sides<T> sides{rows_listed(queries, p.order, p.queries.rows), rows_listed(p.X, p.order, p.X.rows),
                       vectorizable(queries.data, p.X.cols), vectorizable(p.X.data, p.X.cols)};
  const dim3 grid(static_cast<unsigned>(s.a_tiles), static_cast<unsigned>(s.splits));
  launch(knn_kernel<T>, grid, threads, stream, p, sides, s.owner, s.lists);
  if (s.splits == 1) return;
  const Lists<C> out{p.sqdist, p.positions, p.queries.rows, p.k};
  launch(knn_merge_kernel<C>, grid_for(p.queries.rows, warps), threads, stream, s.lists, s.splits, out);
}

PYAL_INSTANTIATE_CUDA_KERNEL(knn, KnnParams)

}  // namespace pyal::cuda
