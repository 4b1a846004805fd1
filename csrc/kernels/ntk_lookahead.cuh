// What ntk_lookahead carries from pick to pick, and what learning a row does to it. Everything per class is stored
// (classes, n), so that threads on neighbouring rows or candidates read neighbouring addresses.
#pragma once
#include "../cuda/warp.cuh"
#include "ntk_lookahead.hpp"

namespace pyal::cuda::lookahead {

using Objective = LookaheadObjective;

inline constexpr int64_t most_row_blocks = 64;
inline constexpr int tile = 64, tile_depth = 16, per_thread = 4;  // of the rebuild

// How far R may be from positive semidefinite, as a share of its diagonal: what rounding to T may have done.
template <class T>
inline constexpr double semidefinite_within = sizeof(T) == 8 ? 0x1p-40 : sizeof(T) == 4 ? 0x1p-12 : 0x1p-4;
template <class V>
inline constexpr V rounding = sizeof(V) == 8 ? V(0x1p-50) : V(0x1p-21);  // of f + s D, with a reserve

// Row x as one that is predicted.
template <class V>
struct alignas(16) Row {
  int predicted, target, second;  // class; second: the best other class than predicted
  V f_predicted, f_target, f_second, f_third;
  V margin;  // below it no change can move the prediction
};

// Row j as one that is learned.
template <class V>
struct alignas(16) Column {
  V inverse;                    // 1 / (R_jj + ridge), 0: changes nothing
  V most, least;                // of D_j over all classes
  V others_most, others_least;  // of D_j over all but the label
  int label;
};

template <class V>
struct State {
  int64_t n, stride, classes, block_rows, row_blocks, strips, most_learned, n_labeled;
  double ridge, determined, within;
  Objective objective;
  const int64_t *labels, *targets;
  Arena arena;
  double* u;            // (most_learned, stride)
  double* f;            // (classes, stride)
  V* gain;              // (classes, stride) D transposed
  double* change;       // (classes,) D_j / sqrt(R_jj + ridge) of the row being learned
  double* given;        // (n,) the diagonal of R
  double* diagonal;     // (n,) and what is left of it
  Row<V>* row;          // (n,)
  Column<V>* column;    // (n,)
  double* rest;         // (strips,) what does not depend on the candidate
  V* parts;             // (row_blocks, stride)
  double* primary;      // (n,)
  double* best_key;     // (1,)
  bool* open;           // (n,) a candidate, not yet picked
  uint64_t* indefinite;  // (1,) step and row, the least of all found
  GridBest<double> best;
  V* working;           // (n, stride)

  template <class T>
  State(const NtkLookaheadParams<T>& p, void* base)
      : n(p.R.rows),
        stride(ceil_div(n, warp_size) * warp_size),
        classes(p.classes),
        block_rows(ceil_div(n, most_row_blocks)),
        row_blocks(n == 0 ? 0 : ceil_div(n, block_rows)),
        strips(stride / warp_size),
        most_learned(p.labeled.size + p.batch_size),
        n_labeled(p.labeled.size),
        ridge(p.ridge),
        determined(lookahead_determined<T>),
        within(semidefinite_within<T>),
        objective(p.objective),
        labels(p.labels),
        targets(p.targets),
        arena(base),
        u(arena.take<double>(most_learned * stride)),
        f(arena.take<double>(classes * stride)),
        gain(arena.take<V>(classes * stride)),
        change(arena.take<double>(classes)),
        given(arena.take<double>(n)),
        diagonal(arena.take<double>(n)),
        row(arena.take<Row<V>>(n)),
        column(arena.take<Column<V>>(n)),
        rest(arena.take<double>(strips)),
        parts(arena.take<V>(row_blocks * stride)),
        primary(arena.take<double>(n)),
        best_key(arena.take<double>(1)),
        open(arena.take<bool>(n)),
        indefinite(arena.take<uint64_t>(1)),
        best(arena),
        working(arena.take<V>(most_learned > lookahead_pending ? n * stride : 0)) {}

  __device__ bool is_determined(int64_t j) const { return !(diagonal[j] + ridge > determined * (given[j] + ridge)); }

  // Largest is best. What is not a number comes last, so that there always is a candidate to pick.
  __device__ double key(double value) const {
    const double key = objective == Objective::output_change ? value : -value;
    return key == key ? key : -infinity<double>;
  }
};

// ---- sums of a block in a fixed order, known to all its threads ----

// Over the warps, for each lane.
__device__ inline double strip_sum(double mine) {
  __shared__ double parts[warps][warp_size];
  const int lane = threadIdx.x % warp_size;
  block_sync();  // a previous call may still be reading
  parts[threadIdx.x / warp_size][lane] = mine;
  block_sync();
  double total = 0;
#pragma unroll
  for (int w = 0; w < warps; ++w) total += parts[w][lane];
  return total;
}

__device__ inline double block_sum(double mine) { return warp_sum(strip_sum(mine)); }

// ---- learning a row: a block for 32 rows, its warps share the picks or the classes ----

template <class V, class T>
__global__ void lookahead_start_kernel(NtkLookaheadParams<T> p, State<V> s) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * threads;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  for (int64_t i = first; i < s.n * s.classes; i += step) {
    const int64_t c = i / s.n, x = i % s.n;
    s.f[c * s.stride + x] = p.f[x * s.classes + c];
  }
  for (int64_t x = first; x < s.n; x += step) s.given[x] = s.diagonal[x] = widen(p.R.data[x * s.n + x]);
  for (int64_t i = first; p.candidates.data && i < p.candidates.size; i += step) s.open[p.candidates.data[i]] = true;
}

// u, and how much of it the predictions take. A determined row changes nothing, which u = 0 says.
template <class V, class T>
__global__ void lookahead_learn_kernel(State<V> s, const T* R, const int64_t* at, int64_t learned) {
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const int64_t j = *at, x = static_cast<int64_t>(blockIdx.x) * warp_size + lane;
  const double root = s.is_determined(j) ? infinity<double> : sqrt(s.diagonal[j] + s.ridge);
  double sum = 0;
#pragma unroll 4
  for (int64_t i = warp; i < learned; i += warps) sum = fma(s.u[i * s.stride + j], s.u[i * s.stride + x], sum);
  sum = strip_sum(sum);
  if (warp == 0) s.u[learned * s.stride + x] = x < s.n ? (static_cast<double>(widen(R[j * s.n + x])) - sum) / root : 0.0;
  const int64_t label = s.labels[j] >= 0 ? s.labels[j] : s.column[j].label;
  for (int64_t c = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x; c < s.classes;
       c += static_cast<int64_t>(gridDim.x) * threads)
    s.change[c] = ((c == label ? 1.0 : 0.0) - s.f[c * s.stride + j]) / root;
}

// The three largest of some classes, ties to the lowest, and the least of those that are not the given label.
struct Leaders {
  double value[3] = {-infinity<double>, -infinity<double>, -infinity<double>};
  int index[3] = {};
  double least_other = infinity<double>;

  __device__ void add(double v, int c) {
#pragma unroll
    for (int k = 0; k < 3; ++k) {
      if (!(v > value[k] || (v == value[k] && c < index[k]))) continue;
      const double falls = value[k];
      const int from = index[k];
      value[k] = v;
      index[k] = c;
      v = falls;
      c = from;
    }
  }
};

// By one thread: what the pass needs of row x, from its predictions. Returns what the row adds to every candidate's objective.
template <class V>
__device__ double describe_row(const State<V>& s, int64_t x, const Leaders& leaders) {
  Row<V> row;
  row.predicted = leaders.index[0];
  row.second = leaders.index[1];
  row.f_predicted = static_cast<V>(leaders.value[0]);
  row.f_second = static_cast<V>(leaders.value[1]);
  row.f_third = static_cast<V>(leaders.value[2]);
  const bool own = s.objective == Objective::agreement || s.targets[x] < 0;
  row.target = own ? row.predicted : static_cast<int>(s.targets[x]);
  row.f_target = static_cast<V>(s.f[row.target * s.stride + x]);
  row.margin = s.classes == 1 ? infinity<V>
                              : (row.f_predicted - row.f_second) * (1 - rounding<V>) -
                                    (abs(row.f_predicted) + abs(row.f_second)) * rounding<V>;
  s.row[x] = row;

  Column<V> column;
  column.label = s.labels[x] >= 0 ? static_cast<int>(s.labels[x]) : row.predicted;
  const V gain = 1 - static_cast<V>(s.f[column.label * s.stride + x]);
  s.gain[column.label * s.stride + x] = gain;
  const bool alone = s.classes == 1;
  column.others_most = alone ? V(0) : -static_cast<V>(leaders.least_other);
  column.others_least = alone ? V(0) : -(column.label == row.predicted ? row.f_second : row.f_predicted);
  column.most = alone ? gain : max(gain, column.others_most);
  column.least = alone ? gain : min(gain, column.others_least);
  column.inverse = s.is_determined(x) || !s.open[x] ? V(0) : static_cast<V>(1 / (s.diagonal[x] + s.ridge));
  s.column[x] = column;

  const double error = 1 - static_cast<double>(row.f_target);
  if (s.objective == Objective::risk) return row.predicted != row.target;
  return s.objective == Objective::soft_risk ? error * error : 0.0;
}

// What the last of the `learned` rows does to predictions and diagonal, and what follows for the pass.
template <class V>
__global__ void lookahead_describe_kernel(State<V> s, int64_t learned) {
  __shared__ double value[warps][3][warp_size], least_other[warps][warp_size];
  __shared__ int index[warps][3][warp_size];
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const int64_t x = static_cast<int64_t>(blockIdx.x) * warp_size + lane;
  const bool inside = x < s.n;
  const double u = learned > 0 ? s.u[(learned - 1) * s.stride + x] : 0.0;
  const int64_t given = inside ? s.labels[x] : -1;
  Leaders leaders;
  for (int64_t c = warp; inside && c < s.classes; c += warps) {
    double f = s.f[c * s.stride + x];
    if (learned > 0) s.f[c * s.stride + x] = f = fma(u, s.change[c], f);
    s.gain[c * s.stride + x] = -static_cast<V>(f);
    leaders.add(f, static_cast<int>(c));
    if (c != given) leaders.least_other = min(leaders.least_other, f);
  }
#pragma unroll
  for (int k = 0; k < 3; ++k) {
    value[warp][k][lane] = leaders.value[k];
    index[warp][k][lane] = leaders.index[k];
  }
  least_other[warp][lane] = leaders.least_other;
  block_sync();
  if (warp > 0) return;
  for (int w = 1; w < warps; ++w) {
#pragma unroll
    for (int k = 0; k < 3; ++k) leaders.add(value[w][k][lane], index[w][k][lane]);
    leaders.least_other = min(leaders.least_other, least_other[w][lane]);
  }
  double rest = 0;
  if (inside) {
    const double left = fma(-u, u, s.diagonal[x]);
    s.diagonal[x] = left;
    if (left < -s.within * (s.given[x] + s.ridge))  // the least row of the first step that shows one
      atomic_min(s.indefinite,
                 static_cast<uint64_t>(max(learned - s.n_labeled, int64_t{0})) << 32 | static_cast<uint64_t>(x));
    rest = describe_row(s, x, leaders);
  }
  rest = warp_sum(rest);
  if (lane == 0) s.rest[blockIdx.x] = rest;
}

// The working copy, made again in double.
template <class V, class T>
__global__ void __launch_bounds__(threads) lookahead_rebuild_kernel(State<V> s, const T* R, int64_t learned) {
  __shared__ double rows[tile_depth][tile], cols[tile_depth][tile];
  constexpr int across = tile / per_thread;
  const int tx = threadIdx.x % across, ty = threadIdx.x / across;
  const int64_t x0 = static_cast<int64_t>(blockIdx.y) * tile, j0 = static_cast<int64_t>(blockIdx.x) * tile;
  double sum[per_thread][per_thread] = {};
  for (int64_t i0 = 0; i0 < learned; i0 += tile_depth) {
    block_sync();
    for (int e = threadIdx.x; e < tile_depth * tile; e += threads) {
      const int i = e / tile, at = e % tile;
      const double* u = s.u + (i0 + i) * s.stride;
      rows[i][at] = i0 + i < learned && x0 + at < s.n ? u[x0 + at] : 0.0;
      cols[i][at] = i0 + i < learned && j0 + at < s.n ? u[j0 + at] : 0.0;
    }
    block_sync();
#pragma unroll 4
    for (int i = 0; i < tile_depth; ++i)
#pragma unroll
      for (int r = 0; r < per_thread; ++r)
#pragma unroll
        for (int c = 0; c < per_thread; ++c)
          sum[r][c] = fma(rows[i][ty * per_thread + r], cols[i][tx + c * across], sum[r][c]);
  }
#pragma unroll
  for (int r = 0; r < per_thread; ++r)
#pragma unroll
    for (int c = 0; c < per_thread; ++c) {
      const int64_t x = x0 + ty * per_thread + r, j = j0 + tx + c * across;
      if (x < s.n && j < s.n)
        s.working[x * s.stride + j] = static_cast<V>(static_cast<double>(widen(R[x * s.n + j])) - sum[r][c]);
    }
}

}  // namespace pyal::cuda::lookahead
