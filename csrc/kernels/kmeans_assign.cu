// Every row is compared with every centre, in tiles; the bounds are written but not used. Fixed rows are put right after that. The
// sums are taken from all rows: a counting sort orders the rows by cluster and keeps their order within it (by a table of counts per
// segment of rows, so that nothing depends on which thread comes first), then each block adds up the rows of one cluster, in
// order, in a slab of columns.
#include "../cuda/tiles.cuh"
#include "kmeans_assign.hpp"

namespace pyal::cuda {
namespace {

constexpr int slab = 128;  // columns of a block that sums

template <class T>
struct Scratch {
  Arena arena;
  int64_t segment;   // rows of a segment: at least k, so that the table has at most n + k entries
  int64_t segments;
  int64_t* offsets;  // (segments, k) rows of the cluster in the segment, then in the segments before it
  int64_t* starts;   // (k,) first place of the cluster in order
  int64_t* order;    // (n,) rows by cluster, ascending inside

  Scratch(const KmeansAssignParams<T>& p, void* base)
      : arena(base),
        segment(max(int64_t{1024}, p.k)),
        segments(ceil_div(p.X.rows, segment)),
        offsets(arena.take<int64_t>(segments * p.k)),
        starts(arena.take<int64_t>(p.k)),
        order(arena.take<int64_t>(p.X.rows)) {}
};

template <class T>
__global__ void __launch_bounds__(threads, 2)
    kmeans_nearest_kernel(KmeansAssignParams<T> p, Rows<T> rows, Rows<compute_t<T>> centers, bool rows_vectorized,
                          bool centers_vectorized) {
  using C = compute_t<T>;
  using Shape = Tile<C>;
  __shared__ typename Shape::Memory memory;
  const int64_t a0 = static_cast<int64_t>(blockIdx.x) * Shape::rows;
  C least[Shape::R];
  int nearest[Shape::R];  // -1: none yet
#pragma unroll
  for (int i = 0; i < Shape::R; ++i) {
    least[i] = infinity<C>;
    nearest[i] = -1;
  }
  for (int64_t b0 = 0; b0 < p.k; b0 += Shape::cols) {
    C sqdist[Shape::R][Shape::S];
    tile_sqdists(rows, a0, rows_vectorized, centers, b0, centers_vectorized, memory, sqdist);
#pragma unroll
    for (int i = 0; i < Shape::R; ++i)
#pragma unroll
      for (int j = 0; j < Shape::S; ++j) {
        const int64_t c = b0 + Shape::col() + j;  // ascending, so that the first of equals stays
        if (c < p.k && (sqdist[i][j] < least[i] || nearest[i] < 0)) {
          least[i] = sqdist[i][j];
          nearest[i] = static_cast<int>(c);
        }
      }
  }
#pragma unroll
  for (int i = 0; i < Shape::R; ++i) {
    Best<C> best{-least[i], nearest[i] < 0 ? beyond_all : nearest[i]};
#pragma unroll
    for (int offset = tile_lanes / 2; offset > 0; offset /= 2) {
      const C value = lane_across(best.value, offset);
      const int64_t c = lane_across(best.position, offset);
      best = better(best, Best<C>{value, c});
    }
    const int64_t row = a0 + Shape::row() + i;
    if (threadIdx.x % tile_lanes != 0 || row >= rows.size) continue;
    const C sqdist = -best.value;
    p.assignment[row] = best.position;
    p.upper[row] = sqrt(sqdist) * (1 + epsilon<C> * static_cast<C>(rows.d + 4));
    p.lower[row] = 0;
    if (p.sqdist) p.sqdist[row] = sqdist;
  }
}

// A warp looks for fixed rows among 32 and goes through them one by one: they are few.
template <class T>
__global__ void kmeans_fixed_kernel(KmeansAssignParams<T> p, Rows<T> rows) {
  using C = compute_t<T>;
  const int lane = threadIdx.x % warp_size;
  const int64_t base = (static_cast<int64_t>(blockIdx.x) * warps + threadIdx.x / warp_size) * warp_size;
  const int64_t mine = base + lane < p.X.rows ? p.fixed[base + lane] : -1;
  for (unsigned left = lanes_where(mine >= 0); left; left &= left - 1) {
    const int64_t i = base + lowest_bit(left), c = p.fixed[i];
    const ScaledRow<T> row = rows.at(i);
    C sqdist = 0;
    for (int64_t column = lane; p.sqdist && column < p.X.cols; column += warp_size)
      sqdist = SquaredDifference::add(row[column], p.centers[c * p.X.cols + column], sqdist);
    sqdist = warp_sum(sqdist);
    if (lane != 0) continue;
    p.assignment[i] = c;
    p.upper[i] = infinity<C>;
    p.lower[i] = 0;
    if (p.sqdist) p.sqdist[i] = sqdist;
  }
}

// One block a segment: how many of its rows fall to each cluster.
__global__ void kmeans_count_kernel(const int64_t* assignment, int64_t n, int64_t k, int64_t segment,
                                    int64_t* offsets) {
  int64_t* counts = offsets + blockIdx.x * k;
  for (int64_t c = threadIdx.x; c < k; c += threads) counts[c] = 0;
  block_sync();
  const int64_t first = blockIdx.x * segment, last = min(first + segment, n);
  for (int64_t i = first + threadIdx.x; i < last; i += threads)
    atomic_add(counts + assignment[i], int64_t{1});
}

// One thread a cluster: running sums over the segments.
__global__ void kmeans_offsets_kernel(int64_t segments, int64_t k, int64_t* offsets, int64_t* counts) {
  const int64_t c = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (c >= k) return;
  int64_t before = 0;
  for (int64_t s = 0; s < segments; ++s) {
    const int64_t count = offsets[s * k + c];
    offsets[s * k + c] = before;
    before += count;
  }
  counts[c] = before;
}

// One block.
__global__ void kmeans_starts_kernel(int64_t k, const int64_t* counts, int64_t* starts) {
  int64_t before = 0;
  for (int64_t base = 0; base < k; base += threads) {
    const int64_t c = base + threadIdx.x;
    int64_t total = 0;
    const int64_t start = block_exclusive_sum(c < k ? counts[c] : 0, total);
    if (c < k) starts[c] = before + start;
    before += total;
  }
}

// One warp a segment, 32 rows at a time: equals are ranked by lane, and the first of them moves the offset on.
__global__ void kmeans_order_kernel(const int64_t* assignment, int64_t n, int64_t k, int64_t segment, int64_t* offsets,
                                    const int64_t* starts, int64_t* order) {
  const int lane = threadIdx.x % warp_size;
  int64_t* next = offsets + blockIdx.x * k;
  const int64_t first = blockIdx.x * segment, last = min(first + segment, n);
  for (int64_t base = first; base < last; base += warp_size) {
    const int64_t i = base + lane;
    const int64_t c = i < last ? assignment[i] : -1;
    const unsigned equals = lanes_with(c);
    const int leader = lowest_bit(equals);
    int64_t place = 0;
    if (c >= 0 && lane == leader) {
      place = next[c];
      next[c] = place + count_bits(equals);
    }
    place = lane_value(place, leader) + count_bits(equals & ((1u << lane) - 1));
    if (c >= 0) order[starts[c] + place] = i;
    warp_sync();
  }
}

template <class T>
__global__ void kmeans_sums_kernel(Rows<T> rows, const int64_t* starts, const int64_t* counts, double* sums) {
  constexpr int ahead = 8;  // loads in flight; the additions stay in order
  const int64_t cluster = blockIdx.x, column = static_cast<int64_t>(blockIdx.y) * slab + threadIdx.x;
  if (column >= rows.d) return;
  rows.index += starts[cluster];
  const int64_t count = counts[cluster];
  double sum = 0;
  int64_t r = 0;
  for (; r + ahead <= count; r += ahead) {
    compute_t<T> values[ahead];
#pragma unroll
    for (int u = 0; u < ahead; ++u) values[u] = rows.row(r + u)[column];
#pragma unroll
    for (int u = 0; u < ahead; ++u) sum += values[u];
  }
  for (; r < count; ++r) sum += rows.row(r)[column];
  sums[cluster * rows.d + column] = sum;
}

}  // namespace

template <class T>
int64_t kmeans_assign_scratch(const KmeansAssignParams<T>& p) {
  return Scratch<T>(p, nullptr).arena.bytes();
}

template <class T>
void kmeans_assign(const KmeansAssignParams<T>& p, void* scratch, CUstream_st* stream) {
  using C = compute_t<T>;
  const Scratch<T> s(p, scratch);
  if (p.k == 0) return;
  const int64_t n = p.X.rows, d = p.X.cols;
  const auto segments = static_cast<unsigned>(s.segments);
  if (n > 0) {
    const Rows<C> centers{p.centers, nullptr, p.k, d};
    launch(kmeans_nearest_kernel<T>, grid_for(n, Tile<C>::rows), threads, stream, p, all_rows(p.X), centers,
           vectorizable(p.X.data, d), vectorizable(p.centers, d));
    if (p.fixed) {
      launch(kmeans_fixed_kernel<T>, grid_for(n, threads), threads, stream, p, all_rows(p.X));
    }
    launch(kmeans_count_kernel, segments, threads, stream, p.assignment, n, p.k, s.segment, s.offsets);
  }
  launch(kmeans_offsets_kernel, grid_for(p.k, threads), threads, stream, s.segments, p.k, s.offsets, p.counts);
  launch(kmeans_starts_kernel, 1, threads, stream, p.k, p.counts, s.starts);
  if (n > 0) {
    launch(kmeans_order_kernel, segments, warp_size, stream, p.assignment, n, p.k, s.segment, s.offsets, s.starts,
           s.order);
  }
  if (d == 0) return;
  const dim3 grid(static_cast<unsigned>(p.k), static_cast<unsigned>(ceil_div(d, slab)));
  launch(kmeans_sums_kernel<T>, grid, slab, stream, rows_listed(p.X, s.order, n), s.starts, p.counts, p.sums);
}

PYAL_INSTANTIATE_CUDA_KERNEL(kmeans_assign, KmeansAssignParams)

}  // namespace pyal::cuda
