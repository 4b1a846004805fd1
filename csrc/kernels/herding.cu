// A self-join gives the first gains. From then on a pick takes: one read of X that raises m and counts the rows raised,
// the list of those rows in ascending order, their part in every candidate's gain (tiles of candidates x list), and the
// best candidate. A candidate's gain is added up by the same threads in the same order every time, so gains are the
// same from run to run and equal for equal rows. The length of the list stays on the device.
//
// With old and new m of a raised row x, w_x (max(0, k - old) - max(0, k - new)) = w_x (min(k, new) - old) where
// k > old; with new = +inf that is all that x gives, which is how the first gains are taken.
//
// Of what is carried, only m is made use of: the first gains are taken afresh, so that they are the same to the bit.
#include "../cuda/tiles.cuh"
#include "herding.hpp"

namespace pyal::cuda {
namespace {

template <class T>
struct Scratch {
  using C = compute_t<T>;
  using Shape = Tile<C>;
  Rows<T> candidates;
  int64_t n, row_blocks, splits;
  bool vectorized;
  HerdingKernel kind;
  C scale;          // 1 / bandwidth^2
  double limit;     // of the squared distances at which a top hat is 1
  Arena arena;
  double* gains;    // (candidates,) times n; -inf once picked
  double* parts;    // (splits, candidates) what the list gives
  C* m;             // (n,), carried or not
  C* before;        // (n,) m before the last pick
  int64_t* offsets;  // (row_blocks,) rows raised in the block, then in those before it
  int64_t* index;   // (n,) list: positions, with old and new m
  C* old_m;
  C* new_m;
  int64_t* length;  // of the list
  unsigned* arrived;
  GridBest<double> best;

  Scratch(const HerdingParams<T>& p, void* base)
      : candidates(rows_at(p.X, p.candidates)),
        n(p.X.rows),
        row_blocks(ceil_div(n, Shape::rows)),
        splits(tile_splits(ceil_div(candidates.size, Shape::rows), ceil_div(n, Shape::cols))),
        vectorized(vectorizable(p.X.data, p.X.cols)),
        kind(p.kind),
        scale(static_cast<C>(min(max(1 / p.bandwidth / p.bandwidth, static_cast<double>(std::numeric_limits<C>::min())),
                                 static_cast<double>(std::numeric_limits<C>::max())))),
        limit(top_hat_limit(p.bandwidth)),
        arena(base),
        gains(arena.take<double>(candidates.size)),
        parts(arena.take<double>(splits * candidates.size)),
        m(p.best ? p.best : arena.take<C>(n)),
        before(arena.take<C>(n)),
        offsets(arena.take<int64_t>(row_blocks)),
        index(arena.take<int64_t>(n)),
        old_m(arena.take<C>(n)),
        new_m(arena.take<C>(n)),
        length(arena.take<int64_t>(1)),
        arrived(arena.take<unsigned>(1)),
        best(arena) {}
};

template <HerdingKernel kind, class T, class C>
__device__ C kernel_value(C sqdist, const Scratch<T>& s) {
  if constexpr (kind == HerdingKernel::top_hat) return static_cast<double>(sqdist) < s.limit ? C(1) : C(0);
  const C square = sqdist * s.scale;
  if constexpr (kind == HerdingKernel::rbf) return exp(-square);
  if constexpr (kind == HerdingKernel::laplace) return exp(-sqrt(square));
  if constexpr (kind == HerdingKernel::cauchy) return C(1) / (C(1) + square);
  const C root = sqrt(C(1) + square * C(1 / student_t_beta));  // student_t is this to the power -3/2
  return C(1) / (root * sqrt(root));
}

// Squared distances to kernel values in place; the kernel is chosen once for all of them.
template <HerdingKernel kind, class T, class C, int rows, int cols>
__device__ void values_of(C (&sqdist)[rows][cols], const Scratch<T>& s) {
#pragma unroll
  for (int i = 0; i < rows; ++i)
#pragma unroll
    for (int j = 0; j < cols; ++j) sqdist[i][j] = kernel_value<kind>(sqdist[i][j], s);
}

template <class T, class C, int rows, int cols>
__device__ void kernel_values(C (&sqdist)[rows][cols], const Scratch<T>& s) {
  switch (s.kind) {
    case HerdingKernel::rbf: return values_of<HerdingKernel::rbf>(sqdist, s);
    case HerdingKernel::laplace: return values_of<HerdingKernel::laplace>(sqdist, s);
    case HerdingKernel::cauchy: return values_of<HerdingKernel::cauchy>(sqdist, s);
    case HerdingKernel::student_t: return values_of<HerdingKernel::student_t>(sqdist, s);
    case HerdingKernel::top_hat: return values_of<HerdingKernel::top_hat>(sqdist, s);
  }
}

// m from the covered rows, and from what it was where it is carried; and the list of all rows.
template <class T>
__global__ void __launch_bounds__(threads, 2)
    herding_cover_kernel(Scratch<T> s, Rows<T> rows, Rows<T> covered, bool carried) {
  using C = compute_t<T>;
  using Shape = Tile<C>;
  __shared__ typename Shape::Memory memory;
  const int64_t a0 = static_cast<int64_t>(blockIdx.x) * Shape::rows;
  C most[Shape::R] = {};
  for (int64_t b0 = 0; b0 < covered.size; b0 += Shape::cols) {
    C sqdist[Shape::R][Shape::S];
    tile_sqdists(rows, a0, s.vectorized, covered, b0, s.vectorized, memory, sqdist);
    kernel_values(sqdist, s);
#pragma unroll
    for (int i = 0; i < Shape::R; ++i)
#pragma unroll
      for (int j = 0; j < Shape::S; ++j)
        if (b0 + Shape::col() + j < covered.size) most[i] = max(most[i], sqdist[i][j]);
  }
#pragma unroll
  for (int i = 0; i < Shape::R; ++i) {
    C m = tile_row_reduce(most[i], [](C a, C b) { return max(a, b); });
    const int64_t row = a0 + Shape::row() + i;
    if (threadIdx.x % tile_lanes != 0 || row >= rows.size) continue;
    if (carried) m = max(m, s.m[row]);
    s.m[row] = m;
    s.index[row] = row;
    s.old_m[row] = m;
    s.new_m[row] = infinity<C>;
  }
  if (blockIdx.x == 0 && threadIdx.x == 0) *s.length = rows.size;
}

template <class T>
__global__ void __launch_bounds__(threads, sizeof(compute_t<T>) == 8 ? 1 : 2)  // the exp of double needs registers
    herding_parts_kernel(Scratch<T> s, Rows<T> rows, const double* weights) {
  using C = compute_t<T>;
  using Shape = Tile<C>;
  __shared__ typename Shape::Memory memory;
  const int64_t a0 = static_cast<int64_t>(blockIdx.x) * Shape::rows, split = blockIdx.y, splits = gridDim.y;
  Rows<T> list = rows;
  list.index = s.index;
  list.size = *s.length;
  const int64_t tiles = ceil_div(list.size, Shape::cols);
  double sums[Shape::R] = {};
  for (int64_t tile = tiles * split / splits; tile < tiles * (split + 1) / splits; ++tile) {
    const int64_t b0 = tile * Shape::cols;
    C sqdist[Shape::R][Shape::S];
    tile_sqdists(s.candidates, a0, s.vectorized, list, b0, s.vectorized, memory, sqdist);
    kernel_values(sqdist, s);
#pragma unroll
    for (int j = 0; j < Shape::S; ++j) {
      const int64_t x = b0 + Shape::col() + j;
      if (x >= list.size) continue;
      const C old_m = s.old_m[x], new_m = s.new_m[x];
      const double weight = weights ? weights[s.index[x]] : 1.0;
#pragma unroll
      for (int i = 0; i < Shape::R; ++i) {
        const C value = sqdist[i][j];
        const double fall = static_cast<double>(min(value, new_m)) - static_cast<double>(old_m);
        if (value > old_m) sums[i] = fma(weight, fall, sums[i]);
      }
    }
  }
#pragma unroll
  for (int i = 0; i < Shape::R; ++i) {
    const double sum = tile_row_reduce(sums[i], [](double a, double b) { return a + b; });
    const int64_t slot = a0 + Shape::row() + i;
    if (threadIdx.x % tile_lanes == 0 && slot < s.candidates.size) s.parts[split * s.candidates.size + slot] = sum;
  }
}

template <class T>
__global__ void herding_pick_kernel(HerdingParams<T> p, Scratch<T> s, int64_t t) {
  Best<double> best = worst_of_all<double>();
  const int64_t stride = static_cast<int64_t>(gridDim.x) * threads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x; i < s.candidates.size; i += stride) {
    double part = 0;
    for (int64_t split = 0; split < s.splits; ++split) part += s.parts[split * s.candidates.size + i];
    const double gain = t == 0 ? part : s.gains[i] - part;
    s.gains[i] = gain;
    best = better(best, Best<double>{gain, i});
  }
  if (!grid_best(best, s.best) || threadIdx.x != 0) return;
  p.positions[t] = s.candidates.position(best.position);
  p.gains[t] = max(best.value, 0.0) / static_cast<double>(s.n);  // what is left of 0 may lie an ulp below it
  s.gains[best.position] = -infinity<double>;
}

// Raises m to the last pick's kernel values; the last block turns the counts of raised rows into offsets.
template <class T>
__global__ void herding_raise_kernel(Scratch<T> s, Rows<T> rows, const int64_t* pick) {
  using C = compute_t<T>;
  using Shape = Tile<C>;
  __shared__ typename Shape::Memory memory;
  const int64_t a0 = static_cast<int64_t>(blockIdx.x) * Shape::rows;
  C own[1][1] = {{row_sqdists(rows, a0, rows.at(*pick), s.vectorized, memory)}};
  kernel_values(own, s);
  const int64_t i = a0 + threadIdx.x;
  bool raised = false;
  if (threadIdx.x < Shape::rows && i < rows.size) {
    const C value = own[0][0], m = s.m[i];
    raised = value > m;
    s.before[i] = m;
    if (raised) s.m[i] = value;
  }
  const int count = block_count(raised);
  if (threadIdx.x == 0) s.offsets[blockIdx.x] = count;
  if (!arrives_last(s.arrived)) return;
  int64_t before = 0;
  for (int64_t base = 0; base < s.row_blocks; base += threads) {
    const int64_t b = base + threadIdx.x;
    const bool inside = b < s.row_blocks;
    int64_t total = 0;
    const int64_t below = block_exclusive_sum(inside ? read_fresh(s.offsets + b) : 0, total);
    if (inside) s.offsets[b] = before + below;
    before += total;
  }
  if (threadIdx.x == 0) *s.length = before;
}

// One thread a row, in blocks of Shape::rows as in herding_raise_kernel.
template <class T>
__global__ void herding_list_kernel(Scratch<T> s) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const bool raised = i < s.n && s.m[i] > s.before[i];
  int64_t total = 0;
  const int64_t at = s.offsets[blockIdx.x] + block_exclusive_sum(raised, total);
  if (!raised) return;
  s.index[at] = i;
  s.old_m[at] = s.before[i];
  s.new_m[at] = s.m[i];
}

}  // namespace

template <class T>
int64_t herding_scratch(const HerdingParams<T>& p) {
  return Scratch<T>(p, nullptr).arena.bytes();
}

template <class T>
void herding(const HerdingParams<T>& p, void* scratch, CUstream_st* stream) {
  using Shape = Tile<compute_t<T>>;
  const Scratch<T> s(p, scratch);
  const bool carried = p.best != nullptr, picks = p.batch_size > 0 && s.candidates.size > 0;
  if (s.n == 0 || !(picks || carried)) return;
  const Rows<T> rows = all_rows(p.X), covered = rows_listed(p.X, p.covered.data, p.covered.size);
  const auto row_blocks = static_cast<unsigned>(s.row_blocks);
  const dim3 tiles(grid_for(s.candidates.size, Shape::rows), static_cast<unsigned>(s.splits));

  set_bytes(s.arrived, 1, 0, stream);
  set_bytes(s.best.arrived, 1, 0, stream);
  launch(herding_cover_kernel<T>, row_blocks, threads, stream, s, rows, covered, carried);
  if (!picks) return;
  for (int64_t t = 0; t < p.batch_size; ++t) {
    if (t > 0) {
      launch(herding_raise_kernel<T>, row_blocks, threads, stream, s, rows, p.positions + (t - 1));
      launch(herding_list_kernel<T>, row_blocks, Shape::rows, stream, s);
    }
    launch(herding_parts_kernel<T>, tiles, threads, stream, s, rows, p.weights);
    launch(herding_pick_kernel<T>, grid_for(s.candidates.size, threads, max_partials), threads, stream, p, s, t);
  }
  if (carried) launch(herding_raise_kernel<T>, row_blocks, threads, stream, s, rows, p.positions + (p.batch_size - 1));
}

PYAL_INSTANTIATE_CUDA_KERNEL(herding, HerdingParams)

}  // namespace pyal::cuda
