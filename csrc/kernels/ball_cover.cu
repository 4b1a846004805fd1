// One self-join counts the first gains; from then on a pick costs three launches: take the best candidate, list the
// rows it newly covers and the candidates within twice the radius, subtract the former from the gains of the latter.
// Every row is subtracted once, so all picks together cost at most another self-join, and the triangle inequality spares
// most of it. The lengths of the lists stay on the device. Counts are integers: the order of the atomics does not show,
// and tile_sqdists and row_sqdists give the same bits, so a row is covered by exactly those that counted it.
// Of what is carried, only which rows are covered is made use of: the first gains are counted afresh over what is not.
#include "../cuda/tiles.cuh"
#include "ball_cover.hpp"

namespace pyal::cuda {
namespace {

// Squared: twice the radius. A thousandth more than rounding could ever hide.
constexpr double reach = 4 * 1.001;

struct State {
  int64_t* gains;      // (n,) by position; -1: no candidate, or already picked
  uint8_t* covered;    // (n,), carried or not
  int64_t* fresh;      // (n,) list of positions: rows that became covered, at first the uncovered
  int64_t* near;       // (n,) list of positions: candidates whose gain they may have counted in
  int64_t* lengths;     // fresh, near
  GridBest<int64_t> best;

  State(Arena& arena, int64_t n, uint8_t* carried)
      : gains(arena.take<int64_t>(n)),
        covered(carried ? carried : arena.take<uint8_t>(n)),
        fresh(arena.take<int64_t>(n)),
        near(arena.take<int64_t>(n)),
        lengths(arena.take<int64_t>(2)),
        best(arena) {}
};

template <class T>
struct Scratch {
  Arena arena;
  State state;

  Scratch(const BallCoverParams<T>& p, void* base) : arena(base), state(arena, p.X.rows, p.is_covered) {}
};

__device__ void append(int64_t* list, int64_t* length, int64_t position) {
  list[atomic_add(length, int64_t{1})] = position;
}

__global__ void ball_cover_clear_kernel(State s, int64_t n, bool carried) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (i >= n) return;
  s.gains[i] = -1;
  if (!carried) s.covered[i] = 0;
}

__global__ void ball_cover_candidates_kernel(State s, const int64_t* candidates, int64_t size) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (i < size) s.gains[candidates ? candidates[i] : i] = 0;
}

__global__ void ball_cover_uncovered_kernel(State s, int64_t n) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (i < n && !s.covered[i]) append(s.fresh, s.lengths, i);
}

// Tiles of rows x covered rows.
template <class T>
__global__ void __launch_bounds__(threads, 2)
    ball_cover_mark_kernel(Rows<T> rows, Rows<T> covered, bool vectorized, double sqradius, State s) {
  using C = compute_t<T>;
  using Shape = Tile<C>;
  __shared__ typename Shape::Memory memory;
  const int64_t a0 = static_cast<int64_t>(blockIdx.x) * Shape::rows;
  unsigned marked = 0;  // a bit per row
  for (int64_t b0 = 0; b0 < covered.size; b0 += Shape::cols) {
    C sqdist[Shape::R][Shape::S];
    tile_sqdists(rows, a0, vectorized, covered, b0, vectorized, memory, sqdist);
#pragma unroll
    for (int i = 0; i < Shape::R; ++i)
#pragma unroll
      for (int j = 0; j < Shape::S; ++j)
        if (b0 + Shape::col() + j < covered.size && static_cast<double>(sqdist[i][j]) < sqradius) marked |= 1u << i;
  }
#pragma unroll
  for (int i = 0; i < Shape::R; ++i) {
    const int64_t row = a0 + Shape::row() + i;
    if ((marked >> i & 1) != 0 && row < rows.size) s.covered[row] = 1;  // all writers write the same
  }
}

// Adds sign for every pair within the radius, a from rows (or the list near), b from the list fresh. Blocks stride over
// the pairs of tiles, since only the device knows how many there are.
template <class T>
__global__ void __launch_bounds__(threads, 2)
    ball_cover_count_kernel(Rows<T> rows, bool vectorized, double sqradius, bool from_near, int sign, State s) {
  using C = compute_t<T>;
  using Shape = Tile<C>;
  __shared__ typename Shape::Memory memory;
  Rows<T> fresh = rows;
  fresh.index = s.fresh;
  fresh.size = s.lengths[0];
  if (from_near) {
    rows.index = s.near;
    rows.size = s.lengths[1];
  }
  const int64_t a_tiles = ceil_div(rows.size, Shape::rows), b_tiles = ceil_div(fresh.size, Shape::cols);
  for (int64_t pair = blockIdx.x; pair < a_tiles * b_tiles; pair += gridDim.x) {
    const int64_t a0 = pair / b_tiles * Shape::rows, b0 = pair % b_tiles * Shape::cols;
    C sqdist[Shape::R][Shape::S];
    tile_sqdists(rows, a0, vectorized, fresh, b0, vectorized, memory, sqdist);
#pragma unroll
    for (int i = 0; i < Shape::R; ++i) {
      int count = 0;
#pragma unroll
      for (int j = 0; j < Shape::S; ++j)
        count += b0 + Shape::col() + j < fresh.size && static_cast<double>(sqdist[i][j]) < sqradius;
      count = tile_row_reduce(count, [](int a, int b) { return a + b; });
      const int64_t slot = a0 + Shape::row() + i;
      if (threadIdx.x % tile_lanes == 0 && count > 0 && slot < rows.size)
        atomic_add(s.gains + rows.position(slot), int64_t{sign} * count);
    }
  }
}

__global__ void ball_cover_pick_kernel(State s, int64_t n, int64_t t, int64_t* positions, int64_t* gains) {
  Best<int64_t> best = worst_of_all<int64_t>();
  const int64_t stride = static_cast<int64_t>(gridDim.x) * threads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x; i < n; i += stride)
    best = better(best, Best<int64_t>{s.gains[i], i});
  if (!grid_best(best, s.best) || threadIdx.x != 0) return;
  positions[t] = best.position;
  gains[t] = best.value;
  s.gains[best.position] = -1;
  s.lengths[0] = 0;
  s.lengths[1] = 0;
}

// The rows that pick t newly covers, and the candidates near enough to have counted them.
template <class T>
__global__ void ball_cover_fresh_kernel(Rows<T> rows, bool vectorized, double sqradius, const int64_t* pick, State s) {
  using C = compute_t<T>;
  using Shape = Tile<C>;
  __shared__ typename Shape::Memory memory;
  const int64_t a0 = static_cast<int64_t>(blockIdx.x) * Shape::rows;
  const C sqdist = row_sqdists(rows, a0, rows.at(*pick), vectorized, memory);
  const int64_t i = a0 + threadIdx.x;
  if (threadIdx.x >= Shape::rows || i >= rows.size) return;
  if (static_cast<double>(sqdist) < sqradius && !s.covered[i]) {
    s.covered[i] = 1;
    append(s.fresh, s.lengths, i);
  }
  if (static_cast<double>(sqdist) < reach * sqradius && s.gains[i] > 0) append(s.near, s.lengths + 1, i);
}

}  // namespace

template <class T>
int64_t ball_cover_scratch(const BallCoverParams<T>& p) {
  return Scratch<T>(p, nullptr).arena.bytes();
}

template <class T>
void ball_cover(const BallCoverParams<T>& p, void* scratch, CUstream_st* stream) {
  using Shape = Tile<compute_t<T>>;
  const Scratch<T> carved(p, scratch);
  const State& s = carved.state;
  const int64_t n = p.X.rows;
  const bool carried = p.is_covered != nullptr;
  if (n == 0 || (p.batch_size == 0 && !carried)) return;
  const bool vectorized = vectorizable(p.X.data, p.X.cols);
  const Rows<T> rows = all_rows(p.X), candidates = rows_at(p.X, p.candidates);
  const Rows<T> covered = rows_listed(p.X, p.covered.data, p.covered.size);
  const unsigned by_row = grid_for(n, threads), by_tile = grid_for(n, Shape::rows);
  const unsigned striding = grid_for(ceil_div(n, Shape::rows) * ceil_div(n, Shape::cols), 1, max_partials);

  set_bytes(s.best.arrived, 1, 0, stream);
  set_bytes(s.lengths, 2, 0, stream);
  launch(ball_cover_clear_kernel, by_row, threads, stream, s, n, carried);
  launch(ball_cover_candidates_kernel, by_row, threads, stream, s, candidates.index, candidates.size);
  if (covered.size > 0) {
    launch(ball_cover_mark_kernel<T>, by_tile, threads, stream, rows, covered, vectorized, p.sqradius, s);
  }
  if (p.batch_size == 0) return;
  launch(ball_cover_uncovered_kernel, by_row, threads, stream, s, n);
  launch(ball_cover_count_kernel<T>, striding, threads, stream, candidates, vectorized, p.sqradius, false, 1, s);
  for (int64_t t = 0; t < p.batch_size; ++t) {
    launch(ball_cover_pick_kernel, grid_for(n, threads, max_partials), threads, stream, s, n, t, p.positions, p.gains);
    const bool last = t + 1 == p.batch_size;
    if (last && !carried) break;
    launch(ball_cover_fresh_kernel<T>, by_tile, threads, stream, rows, vectorized, p.sqradius, p.positions + t, s);
    if (!last) launch(ball_cover_count_kernel<T>, striding, threads, stream, rows, vectorized, p.sqradius, true, -1, s);
  }
}

PYAL_INSTANTIATE_CUDA_KERNEL(ball_cover, BallCoverParams)

}  // namespace pyal::cuda
