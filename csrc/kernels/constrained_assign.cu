// Blocks of the order: all sqdists of a block in tiles, then the greedy pass over it by one warp, which runs on through
// the points without a barrier; its lanes share the centres.
#include "../cuda/tiles.cuh"
#include "constrained_assign.hpp"

namespace pyal::cuda {
namespace {

constexpr int64_t block = 4096;  // points whose sqdists are kept
constexpr int64_t no_colour = -1;

// Of the pass, from block to block.
struct Progress {
  int64_t free_centers;  // without a colour
  int64_t waiting;       // colours without a centre
  int64_t more_relaxed;  // points, than in the last call
  double cost, cost_before;
};

template <class T>
struct Scratch {
  Arena arena;
  compute_t<T>* sqdists;   // (block, k)
  int64_t* center_colour;  // (k,)
  int64_t* barred_by;      // (k,) the last point that a conflict kept off the centre
  int* has_center;         // (n_colours,)
  int64_t* found;          // (n,) the new assignment
  uint8_t* given_up;       // (n,) its relaxed points
  Progress* progress;

  Scratch(const ConstrainedAssignParams<T>& p, void* base)
      : arena(base),
        sqdists(arena.take<compute_t<T>>(min(block, p.X.rows) * p.k)),
        center_colour(arena.take<int64_t>(p.k)),
        barred_by(arena.take<int64_t>(p.k)),
        has_center(arena.take<int>(p.n_colours)),
        found(arena.take<int64_t>(p.X.rows)),
        given_up(arena.take<uint8_t>(p.X.rows)),
        progress(arena.take<Progress>(1)) {}
};

template <class T>
__global__ void constrained_begin_kernel(ConstrainedAssignParams<T> p, Scratch<T> s) {
  const int64_t first = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  const int64_t step = static_cast<int64_t>(gridDim.x) * threads;
  for (int64_t c = first; c < p.k; c += step) s.center_colour[c] = s.barred_by[c] = -1;
  for (int64_t q = first; q < p.n_colours; q += step) s.has_center[q] = 0;
  for (int64_t g = first; g < p.X.rows; g += step) s.found[g] = -1;
  if (first == 0) *s.progress = {p.k, p.n_colours, 0, 0.0, 0.0};
}

template <class T>
__global__ void __launch_bounds__(threads, 2)
    constrained_sqdists_kernel(Rows<T> points, Rows<compute_t<T>> centers, bool points_vectorized,
                               bool centers_vectorized, compute_t<T>* sqdists) {
  using C = compute_t<T>;
  using Shape = Tile<C>;
  __shared__ typename Shape::Memory memory;
  const int64_t a0 = static_cast<int64_t>(blockIdx.x) * Shape::rows;
  const int64_t b0 = static_cast<int64_t>(blockIdx.y) * Shape::cols;
  C tile[Shape::R][Shape::S];
  tile_sqdists(points, a0, points_vectorized, centers, b0, centers_vectorized, memory, tile);
#pragma unroll
  for (int i = 0; i < Shape::R; ++i)
#pragma unroll
    for (int j = 0; j < Shape::S; ++j) {
      const int64_t r = a0 + Shape::row() + i, c = b0 + Shape::col() + j;
      if (r < points.size && c < centers.size) sqdists[r * centers.size + c] = tile[i][j];
    }
}

// One warp; its progress is the same in all lanes.
template <class T>
__global__ void constrained_place_kernel(ConstrainedAssignParams<T> p, Scratch<T> s, int64_t r0, int64_t count) {
  using C = compute_t<T>;
  const int lane = static_cast<int>(threadIdx.x);
  Progress now = *s.progress;
  for (int64_t r = 0; r < count; ++r) {
    const int64_t g = p.order[r0 + r], colour = p.colour ? p.colour[g] : no_colour;
    const bool colour_waits = colour >= 0 && !s.has_center[colour];
    const bool may_take_free = colour_waits || now.free_centers > now.waiting;
    const int64_t last = p.conflict_start ? p.conflict_start[g + 1] : 0;
    for (int64_t e = p.conflict_start ? p.conflict_start[g] + lane : 0; e < last; e += warp_size) {
      const int64_t at = s.found[p.conflicts[e]];
      if (at >= 0) s.barred_by[at] = g;
    }
    warp_sync();
    Best<C> nearest = worst_of_all<C>(), feasible = nearest;
    for (int64_t c = lane; c < p.k; c += warp_size) {
      const Best<C> here{-s.sqdists[r * p.k + c], c};
      nearest = better(nearest, here);
      const int64_t taken = s.center_colour[c];
      if (s.barred_by[c] == g) continue;
      if (colour < 0 || taken == colour || (may_take_free && taken == no_colour)) feasible = better(feasible, here);
    }
    feasible = warp_best(feasible);
    nearest = warp_best(nearest);
    const bool relaxed = feasible.position == beyond_all;
    const int64_t chosen = relaxed ? nearest.position : feasible.position;
    const bool takes = !relaxed && colour >= 0 && s.center_colour[chosen] == no_colour;
    warp_sync();  // all lanes have read before lane 0 writes
    if (lane == 0) {
      s.found[g] = chosen;
      s.given_up[g] = relaxed;
      if (takes) {
        s.center_colour[chosen] = colour;
        s.has_center[colour] = 1;
      }
    }
    now.free_centers -= takes;
    now.waiting -= takes && colour_waits;
    now.cost += p.weight[g] * static_cast<double>(s.sqdists[r * p.k + chosen]);
    if (p.again) {
      now.more_relaxed += static_cast<int>(relaxed) - static_cast<int>(p.relaxed[g]);
      now.cost_before += p.weight[g] * static_cast<double>(s.sqdists[r * p.k + p.assignment[g]]);
    }
    warp_sync();
  }
  if (lane == 0) *s.progress = now;
}

template <class T>
__global__ void constrained_accept_kernel(ConstrainedAssignParams<T> p, Scratch<T> s) {
  const Progress end = *s.progress;
  if (p.again && (end.more_relaxed > 0 || (end.more_relaxed == 0 && !(end.cost < end.cost_before)))) return;
  const int64_t g = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (g >= p.X.rows) return;
  p.assignment[g] = s.found[g];
  p.relaxed[g] = s.given_up[g];
}

}  // namespace

template <class T>
int64_t constrained_assign_scratch(const ConstrainedAssignParams<T>& p) {
  return Scratch<T>(p, nullptr).arena.bytes();
}

template <class T>
void constrained_assign(const ConstrainedAssignParams<T>& p, void* scratch, CUstream_st* stream) {
  using C = compute_t<T>;
  const Scratch<T> s(p, scratch);
  const int64_t n = p.X.rows, d = p.X.cols;
  if (n == 0 || p.k == 0) return;
  launch(constrained_begin_kernel<T>, grid_for(max(n, p.k), threads, max_partials), threads, stream, p, s);
  const Rows<C> centers{p.centers, nullptr, p.k, d};
  const bool points_vectorized = vectorizable(p.X.data, d), centers_vectorized = vectorizable(p.centers, d);
  for (int64_t r0 = 0; r0 < n; r0 += block) {
    const int64_t count = min(block, n - r0);
    const Rows<T> points{p.X.data, p.order + r0, count, d};
    const dim3 grid(grid_for(count, Tile<C>::rows), grid_for(p.k, Tile<C>::cols));
    launch(constrained_sqdists_kernel<T>, grid, threads, stream, points, centers, points_vectorized, centers_vectorized,
           s.sqdists);
    launch(constrained_place_kernel<T>, 1, warp_size, stream, p, s, r0, count);
  }
  launch(constrained_accept_kernel<T>, grid_for(n, threads), threads, stream, p, s);
}

PYAL_INSTANTIATE_CUDA_KERNEL(constrained_assign, ConstrainedAssignParams)

}  // namespace pyal::cuda
