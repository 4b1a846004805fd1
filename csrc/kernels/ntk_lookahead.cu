// A pick is five launches in a row, and the host never looks: u of the last pick, what it does to every row
// (ntk_lookahead.cuh), one pass over the kernel matrix, the sum of its parts, and the ties.
//
// The pass gives each warp 32 neighbouring candidates times `columns`, a block of rows long. Where pruning cannot tell that a
// row keeps its class, the pair goes to a queue of the warp, so that what is left to decide is done by full warps; the
// counts that come of it are integers, and every other sum is added up in a fixed order: scheduling does not show.
#include "ntk_lookahead.cuh"

namespace pyal::cuda {
namespace {

using namespace lookahead;

template <LookaheadObjective value>
struct Of {
  static constexpr LookaheadObjective objective = value;
};

constexpr int score_warps = 4, score_threads = score_warps * warp_size;
constexpr int chunk = 64;      // rows whose constants are in shared memory at a time
constexpr int row_group = 2;   // rows of a thread at a time: as many loads in flight for each column
template <class V>
constexpr int columns = sizeof(V) == 8 ? 2 : 4;  // of a thread

// R itself, or the working copy; `written` picks are in it, `pending` more are to be subtracted, and kept where `keep`.
template <class S>
struct Source {
  const S* data;
  int64_t stride;
  int64_t written;
  int pending;
  bool keep;
};

// ---- the pass ----

// Whether the target's prediction is the largest, class by class, four at a time so that their loads overlap.
template <class V>
__device__ bool target_is_met(const State<V>& s, int64_t x, int64_t j, V change, int target) {
  const auto after = [&](int64_t c) {
    return fma(change, s.gain[c * s.stride + j], static_cast<V>(s.f[c * s.stride + x]));
  };
  const V at_target = after(target);
  bool met = true;
  for (int64_t c0 = 0; met && c0 < s.classes; c0 += 4) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int64_t c = min(c0 + e, s.classes - 1);
      const V value = after(c);
      met &= !(value > at_target || (value == at_target && c < target));
    }
  }
  return met;
}

// 1 where row x no longer meets its target, -1 where it meets it now, once j has been learned.
template <class V>
__device__ int decide(const State<V>& s, int64_t x, int64_t j, V change) {
  const Row<V> row = s.row[x];
  const Column<V> column = s.column[j];
  const auto gain = [&](int64_t c) { return s.gain[c * s.stride + j]; };
  const bool was_missed = row.predicted != row.target;
  const V at_target = fma(change, gain(row.target), row.f_target);
  V rival = -infinity<V>;
  if (column.label != row.target)
    rival = fma(change, gain(column.label), static_cast<V>(s.f[column.label * s.stride + x]));
  if (was_missed) rival = max(rival, fma(change, gain(row.predicted), row.f_predicted));
  if (at_target < rival) return 1 - was_missed;
  // No class but the predicted one and the label can be above this.
  const V next = column.label == row.second ? row.f_third : row.f_second;
  const V others = next + max(change * column.others_most, change * column.others_least);
  const V limit = next == -infinity<V> ? next : others + (abs(next) + abs(others)) * rounding<V>;
  if (at_target > max(rival, limit)) return -was_missed;
  return !target_is_met(s, x, j, change, row.target) - was_missed;
}

// The pairs of a warp that are left to decide. They wait until there are 32 of them, or no more will come.
template <class V>
struct Doubts {
  static constexpr int capacity = warp_size - 1 + row_group * columns<V> * warp_size;
  V change[capacity];
  unsigned where[capacity];  // row within the block of rows, then column within the warp's columns
  int sum[columns<V> * warp_size];

  __device__ void add(bool doubt, V s_xj, int64_t row, int k, int& count) {
    const unsigned lane = threadIdx.x % warp_size, mask = lanes_where(doubt);
    if (doubt) {
      const int at = count + count_bits(mask & ((1u << lane) - 1));
      change[at] = s_xj;
      where[at] = static_cast<unsigned>(row) * (columns<V> * warp_size) + static_cast<unsigned>(k) * warp_size + lane;
    }
    count += count_bits(mask);
  }

  __device__ void decide_down_to(int left, const State<V>& s, int64_t x0, int64_t j0, int& count) {
    if (count <= left) return;
    const int lane = threadIdx.x % warp_size;
    warp_sync();
    for (; count > left; count -= warp_size) {
      const int at = count - 1 - lane;
      if (at < 0) continue;
      const unsigned column = where[at] % (columns<V> * warp_size), row = where[at] / (columns<V> * warp_size);
      const int delta = decide(s, x0 + row, j0 + column, change[at]);
      if (delta != 0) atomic_add(sum + column, delta);
    }
    count = max(count, 0);
    warp_sync();
  }
};

// 1 - the largest entry of the projection of f+ on the simplex, for the columns of a thread: Newton's steps from the left on
// the threshold are exact after at most as many as there are classes. The threshold is told from the largest entry on:
// beside a large one, 1 may be nothing.
template <class V>
__device__ void add_expected_errors(const State<V>& s, int64_t x, int64_t j, const bool (&inside)[columns<V>],
                                    const V (&change)[columns<V>], V (&sum)[columns<V>]) {
  constexpr int K = columns<V>;
  V largest[K], threshold[K];
  const auto each = [&](auto&& use) {
    for (int64_t c = 0; c < s.classes; ++c) {
      const V f = static_cast<V>(s.f[c * s.stride + x]);
#pragma unroll
      for (int k = 0; k < K; ++k)
        use(k, inside[k] ? fma(change[k], s.gain[c * s.stride + j + k * warp_size], f) : f);
    }
  };
#pragma unroll
  for (int k = 0; k < K; ++k) largest[k] = -infinity<V>;
  each([&](int k, V value) { largest[k] = max(largest[k], value); });
#pragma unroll
  for (int k = 0; k < K; ++k) threshold[k] = -1;
  bool moved = true;
  for (int64_t step = 0; moved && step < s.classes; ++step) {
    V total[K], count[K];
#pragma unroll
    for (int k = 0; k < K; ++k) total[k] = -1, count[k] = 0;
    each([&](int k, V value) {
      const V excess = value - largest[k] - threshold[k];
      total[k] += max(excess, V(0));
      count[k] += excess > 0 ? V(1) : V(0);
    });
    moved = false;
#pragma unroll
    for (int k = 0; k < K; ++k) {
      const V next = threshold[k] + total[k] / count[k];
      if (!(next > threshold[k])) continue;
      threshold[k] = next;
      moved = true;
    }
  }
#pragma unroll
  for (int k = 0; k < K; ++k) sum[k] += 1 + threshold[k];
}

// Every row of a block of rows against the columns of a thread: j, j + 32, ...
template <class Kind, class V, class S>
__global__ void __launch_bounds__(score_threads) lookahead_score_kernel(Kind, State<V> s, Source<S> source) {
  constexpr int K = columns<V>;
  constexpr Objective objective = Kind::objective;
  constexpr bool counts = objective == Objective::risk;
  __shared__ Row<V> rows[chunk];
  alignas(16) __shared__ V own[chunk][lookahead_pending];
  __shared__ Doubts<V> all_doubts[counts ? score_warps : 1];
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const int64_t j0 = (static_cast<int64_t>(blockIdx.x) * score_warps + warp) * K * warp_size, j = j0 + lane;
  const int64_t first = blockIdx.y * s.block_rows, last = min(first + s.block_rows, s.n);
  Doubts<V>& doubts = all_doubts[counts ? warp : 0];
  int n_doubts = 0;
  bool inside[K];
  V inverse[K], most[K], least[K], sum[K] = {}, picks[lookahead_pending][K];
#pragma unroll
  for (int k = 0; k < K; ++k) {
    inside[k] = j + k * warp_size < s.n;
    const Column<V> column = inside[k] ? s.column[j + k * warp_size] : Column<V>{};
    inverse[k] = column.inverse;
    most[k] = column.most;
    least[k] = column.least;
#pragma unroll
    for (int i = 0; i < lookahead_pending; ++i)
      picks[i][k] = i < source.pending && inside[k]
                        ? static_cast<V>(s.u[(source.written + i) * s.stride + j + k * warp_size])
                        : V(0);
    if constexpr (counts) doubts.sum[k * warp_size + lane] = 0;
  }
  for (int64_t x0 = first; x0 < last; x0 += chunk) {
    const int n_rows = static_cast<int>(min(static_cast<int64_t>(chunk), last - x0));
    block_sync();
    for (int r = threadIdx.x; r < n_rows; r += score_threads) {
      rows[r] = s.row[x0 + r];
      for (int i = 0; i < source.pending; ++i) own[r][i] = static_cast<V>(s.u[(source.written + i) * s.stride + x0 + r]);
    }
    block_sync();
    for (int r0 = 0; r0 < n_rows; r0 += row_group) {
      V change[row_group][K];
      const S* from = source.data + (x0 + r0) * source.stride + j;
#pragma unroll
      for (int g = 0; g < row_group; ++g)
#pragma unroll
        for (int k = 0; k < K; ++k)
          change[g][k] = inside[k] && r0 + g < n_rows ? V(widen(from[g * source.stride + k * warp_size])) : V(0);
#pragma unroll
      for (int i = 0; i < lookahead_pending; ++i) {
        if (i >= source.pending) break;
#pragma unroll
        for (int g = 0; g < row_group; ++g)
#pragma unroll
          for (int k = 0; k < K; ++k) change[g][k] = fma(-own[r0 + g][i], picks[i][k], change[g][k]);
      }
#pragma unroll
      for (int g = 0; g < row_group; ++g) {
        if (r0 + g >= n_rows) break;
        const int64_t x = x0 + r0 + g;
        const Row<V> row = rows[r0 + g];
        const V* gain = s.gain + (counts ? row.predicted : row.target) * s.stride + j;
#pragma unroll
        for (int k = 0; k < K; ++k) {
          if (source.keep && inside[k]) s.working[x * s.stride + j + k * warp_size] = change[g][k];
          change[g][k] *= inverse[k];
          if constexpr (counts) {
            const V at = inside[k] ? gain[k * warp_size] : V(0);
            const V rise = max(change[g][k] * (most[k] - at), change[g][k] * (least[k] - at));
            doubts.add(inside[k] && rise >= row.margin, change[g][k], x - first, k, n_doubts);
          } else if constexpr (objective == Objective::soft_risk) {
            const V step = change[g][k] * (inside[k] ? gain[k * warp_size] : V(0));
            sum[k] = fma(step, step - (2 - 2 * row.f_target), sum[k]);
          } else if constexpr (objective == Objective::output_change) {
            sum[k] += abs(change[g][k]);
          }
        }
        if constexpr (objective == Objective::expected_risk) add_expected_errors(s, x, j, inside, change[g], sum);
      }
      if constexpr (counts) doubts.decide_down_to(warp_size - 1, s, first, j0, n_doubts);
    }
  }
  if constexpr (counts) doubts.decide_down_to(0, s, first, j0, n_doubts);
#pragma unroll
  for (int k = 0; k < K; ++k)
    if (inside[k])
      s.parts[blockIdx.y * s.stride + j + k * warp_size] = counts ? V(doubts.sum[k * warp_size + lane]) : sum[k];
}

// ---- the pick ----

// By one thread.
template <class V>
__device__ void take(const State<V>& s, int64_t pick, double objective, int64_t* position, double* objectives) {
  *position = pick;
  *objectives = objective;
  s.open[pick] = false;
}

// The objective of every candidate, and the best: the pick, where `position` is given.
template <class V>
__global__ void lookahead_total_kernel(State<V> s, double* scores, int64_t* position, double* objective) {
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  double rest = 0;
  for (int64_t i = threadIdx.x; i < s.strips; i += threads) rest += s.rest[i];
  rest = block_sum(rest);
  Best<double> best = worst_of_all<double>();
  for (int64_t strip = blockIdx.x; strip < s.strips; strip += gridDim.x) {
    const int64_t j = strip * warp_size + lane;
    const bool inside = j < s.n;
    double value = 0, square = 0;
    for (int64_t b = warp; inside && b < s.row_blocks; b += warps) value += static_cast<double>(s.parts[b * s.stride + j]);
    value = strip_sum(value);
    if (s.objective == Objective::output_change) {
      for (int64_t c = warp; inside && c < s.classes; c += warps) {
        const double gain = static_cast<double>(s.gain[c * s.stride + j]);
        square = fma(gain, gain, square);
      }
      value *= sqrt(strip_sum(square));
    } else {
      value = s.objective == Objective::agreement ? static_cast<double>(s.n) - value : rest + value;
    }
    if (warp > 0 || !inside || !s.open[j]) continue;
    s.primary[j] = value;
    if (scores) scores[j] = value;
    best = better(best, Best<double>{s.key(value), j});
  }
  if (!grid_best(best, s.best) || threadIdx.x != 0) return;
  *s.best_key = best.value;
  if (position) take(s, best.position, s.objective == Objective::output_change ? best.value : -best.value, position, objective);
}

// Soft risk (risk), negative, or output change (agreement) of a candidate, by a block. R is symmetric, so that its column is
// a row.
template <class V, class S>
__device__ double tie_breaker(const State<V>& s, const Source<S>& source, int64_t j) {
  const Column<V> column = s.column[j];
  double sum = 0, square = 0;
  for (int64_t x = threadIdx.x; x < s.n; x += threads) {
    V value = widen(source.data[j * source.stride + x]);
    for (int64_t i = source.written; i < source.written + source.pending; ++i)
      value = fma(-static_cast<V>(s.u[i * s.stride + j]), static_cast<V>(s.u[i * s.stride + x]), value);
    const double change = static_cast<double>(value) * static_cast<double>(column.inverse);
    const Row<V>& row = s.row[x];
    const double gain = static_cast<double>(s.gain[row.target * s.stride + j]);
    const double error = fma(-change, gain, 1 - static_cast<double>(row.f_target));
    sum = s.objective == Objective::agreement ? sum + abs(change) : fma(-error, error, sum);
  }
  sum = block_sum(sum);
  if (s.objective != Objective::agreement) return sum;
  for (int64_t c = threadIdx.x; c < s.classes; c += threads) {
    const double gain = static_cast<double>(s.gain[c * s.stride + j]);
    square = fma(gain, gain, square);
  }
  return sum * sqrt(block_sum(square));
}

// The pick among those that reach the best key. Neighbours may well be equals, so that blocks take every gridDim.x-th.
template <class V, class S>
__global__ void lookahead_ties_kernel(State<V> s, Source<S> source, int64_t* position, double* objective) {
  __shared__ bool tied[threads];
  const double best_key = *s.best_key;
  const int64_t step = gridDim.x;
  Best<double> best = worst_of_all<double>();
  for (int64_t base = blockIdx.x; base < s.n; base += step * threads) {
    const int64_t mine = base + threadIdx.x * step;
    block_sync();
    tied[threadIdx.x] = mine < s.n && s.open[mine] && s.key(s.primary[mine]) == best_key;
    block_sync();
    for (int i = 0; i < threads && base + i * step < s.n; ++i) {
      if (!tied[i]) continue;
      const double value = tie_breaker(s, source, base + i * step);
      best = better(best, Best<double>{value == value ? value : -infinity<double>, base + i * step});
    }
  }
  if (grid_best(best, s.best) && threadIdx.x == 0) take(s, best.position, s.primary[best.position], position, objective);
}

template <class V>
__global__ void lookahead_finish_kernel(State<V> s, int64_t* indefinite) {
  const uint64_t found = *s.indefinite;
  *indefinite = found == ~uint64_t{0} ? -1 : static_cast<int64_t>(found & 0xffffffffu);
}

// ---- host: what is launched follows from the number of rows learned alone ----

template <Objective objective, class V, class S>
void launch_score(const State<V>& s, const Source<S>& source, CUstream_st* stream) {
  const dim3 grid(grid_for(s.n, score_threads * columns<V>), static_cast<unsigned>(s.row_blocks));
  launch(lookahead_score_kernel<Of<objective>, V, S>, grid, score_threads, stream, Of<objective>{}, s, source);
}

template <class V, class S>
void score(const State<V>& s, const Source<S>& source, CUstream_st* stream) {
  switch (s.objective) {
    case Objective::risk:
    case Objective::agreement: return launch_score<Objective::risk>(s, source, stream);
    case Objective::soft_risk: return launch_score<Objective::soft_risk>(s, source, stream);
    case Objective::output_change: return launch_score<Objective::output_change>(s, source, stream);
    case Objective::expected_risk: return launch_score<Objective::expected_risk>(s, source, stream);
  }
}

template <class T>
struct Run {
  using V = compute_t<T>;
  const NtkLookaheadParams<T>& p;
  const State<V>& s;
  CUstream_st* stream;
  int64_t learned = 0, written = 0, exact = 0;  // picks in u; in the working copy; in it since it was last made

  void describe() {
    launch(lookahead_describe_kernel<V>, static_cast<unsigned>(s.strips), threads, stream, s, learned);
  }

  void learn(const int64_t* at) {
    launch(lookahead_learn_kernel<V, T>, static_cast<unsigned>(s.strips), threads, stream, s, p.R.data, at, learned);
    ++learned;
    describe();
  }

  template <class Use>
  void with_source(bool keep, const Use& use) {
    const int pending = static_cast<int>(learned - written);
    if (written > 0)
      use(Source<V>{s.working, s.stride, written, pending, keep});
    else
      use(Source<T>{p.R.data, s.n, 0, pending, keep});
  }

  // Pick t, or scores alone where there is none to make.
  void pick(int64_t t) {
    if (learned - written > lookahead_pending || learned - exact >= lookahead_refresh) {
      const unsigned tiles = grid_for(s.n, tile);
      launch(lookahead_rebuild_kernel<V, T>, dim3(tiles, tiles), threads, stream, s, p.R.data, learned);
      written = exact = learned;
    }
    const bool keep = learned - written == lookahead_pending;  // then there is a working copy
    with_source(keep, [&](const auto& source) { score(s, source, stream); });
    if (keep) written = learned;
    const bool wanted = t < p.batch_size, ties = s.objective == Objective::risk || s.objective == Objective::agreement;
    int64_t* position = wanted ? p.positions + t : nullptr;
    double* objective = wanted ? p.objectives + t : nullptr;
    launch(lookahead_total_kernel<V>, grid_for(s.strips, 1, max_partials), threads, stream, s,
           t == 0 ? p.scores : nullptr, ties ? nullptr : position, objective);
    if (!wanted || !ties) return;
    with_source(false, [&]<class S>(const Source<S>& source) {
      launch(lookahead_ties_kernel<V, S>, grid_for(s.n, 1, max_partials), threads, stream, s, source, position,
             objective);
    });
  }
};

}  // namespace

template <class T>
int64_t ntk_lookahead_scratch(const NtkLookaheadParams<T>& p) {
  return State<compute_t<T>>(p, nullptr).arena.bytes();
}

template <class T>
void ntk_lookahead(const NtkLookaheadParams<T>& p, void* scratch, CUstream_st* stream) {
  using V = compute_t<T>;
  const State<V> s(p, scratch);
  if (s.n == 0) return;
  set_bytes(s.best.arrived, 1, 0, stream);
  set_bytes(s.indefinite, 1, 0xff, stream);
  set_bytes(s.open, s.n, p.candidates.data == nullptr, stream);
  launch(lookahead_start_kernel<V, T>, grid_for(s.n * s.classes, threads), threads, stream, p, s);
  Run<T> run{p, s, stream};
  if (p.labeled.size == 0) run.describe();
  for (int64_t i = 0; i < p.labeled.size; ++i) run.learn(p.labeled.data + i);
  for (int64_t t = 0; t < max(p.batch_size, int64_t{1}); ++t) {
    run.pick(t);
    if (t + 1 < p.batch_size) run.learn(p.positions + t);
  }
  launch(lookahead_finish_kernel<V>, 1, 1, stream, s, p.indefinite);
}

PYAL_INSTANTIATE_CUDA_KERNEL(ntk_lookahead, NtkLookaheadParams)

}  // namespace pyal::cuda
