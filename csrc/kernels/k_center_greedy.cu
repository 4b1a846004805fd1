// Two ways to a pick, with the same m to the bit, both without the host looking.
// Plain, for the first picks and while X is small: one read of X, four rows a warp; the last block takes the best row.
// Lazy: m only falls, so a stale m is an upper bound. Of each 32 rows a warp brings up to date, highest bound first,
// those whose bound reaches the largest up-to-date m known so far (`reached`, shared by all), and each only until it
// falls below that. A launch before it seeds `reached` with the best rows of the pick before. Which rows are visited
// depends on the timing of the warps; the pick does not: a row that was left stale is below some m that is up to date.
// A pick gets m = -1, below every distance, and stays there.
#include "../cuda/warp.cuh"
#include "k_center_greedy.hpp"

namespace pyal::cuda {
namespace {

constexpr int group = 4;  // rows of a warp at a time: as many independent loads in flight
constexpr int ahead = 8;  // centres of a warp at a time where it has one row only
constexpr int64_t plain_picks = 4;  // while most bounds still fall with every pick
constexpr int64_t lazy_bytes = int64_t{1} << 28;  // of X; reckoned, not measured: 60 us a pass on a large GPU

template <class T>
struct Scratch {
  using C = compute_t<T>;
  Rows<T> rows;  // the candidates
  bool vectorized;
  Arena arena;
  bool lazy;
  C* m;           // (candidates,)
  int* seen;      // (candidates,) how many picks after the plain ones m has been compared with
  uint64_t* reached;  // (batch_size,) the largest m known to be up to date, as bits, which are in the order of m where m >= 0
  GridBest<C> best;

  Scratch(const KCenterGreedyParams<T>& p, void* base)
      : rows(rows_at(p.X, p.candidates)),
        vectorized(vectorizable(p.X.data, p.X.cols)),
        arena(base),
        lazy(p.batch_size > plain_picks && rows.size * rows.d * static_cast<int64_t>(sizeof(T)) >= lazy_bytes),
        m(arena.take<C>(rows.size)),
        seen(arena.take<int>(lazy ? rows.size : 0)),
        reached(arena.take<uint64_t>(lazy ? p.batch_size : 0)),
        best(arena) {}
};

// The first of the warp's rows, and how far to the next.
__device__ int64_t first_row() { return (static_cast<int64_t>(blockIdx.x) * warps + threadIdx.x / warp_size) * group; }
__device__ int64_t row_step() { return static_cast<int64_t>(gridDim.x) * warps * group; }

// The rows of the warp; those beyond the end repeat the last one.
template <class T>
__device__ void group_rows(const Rows<T>& rows, int64_t first, ScaledRow<T> (&row)[group]) {
#pragma unroll
  for (int r = 0; r < group; ++r) row[r] = rows.row(min(first + r, rows.size - 1));
}

// m from the rows that are covered now, and from `before`, where that is given; it may be m itself.
template <class T>
__global__ void k_center_cover_kernel(Rows<T> rows, Rows<T> covered, bool vectorized, const compute_t<T>* before,
                                      compute_t<T>* m) {
  using C = compute_t<T>;
  const int lane = threadIdx.x % warp_size;
  for (int64_t first = first_row(); first < rows.size; first += row_step()) {
    ScaledRow<T> row[group];
    group_rows(rows, first, row);
    C least[group];
#pragma unroll
    for (int r = 0; r < group; ++r) least[r] = before ? before[min(first + r, rows.size - 1)] : infinity<C>;
    for (int64_t c = 0; c < covered.size; c += group) {
      ScaledRow<T> center[group];
      group_rows(covered, c, center);
      C sqdist[group][group];
      warp_pairs<SquaredDifference>(row, center, rows.d, vectorized, sqdist);
#pragma unroll
      for (int r = 0; r < group; ++r)
#pragma unroll
        for (int k = 0; k < group; ++k) least[r] = min(least[r], sqdist[r][k]);
    }
#pragma unroll
    for (int r = 0; r < group; ++r)
      if (lane == r && first + r < rows.size) m[first + r] = least[r];
  }
}

template <class T>
__global__ void k_center_candidates_kernel(Rows<T> rows, const compute_t<T>* coverage, compute_t<T>* m) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (i < rows.size) m[i] = coverage[rows.position(i)];
}

// By one thread.
template <class T>
__device__ void take(const KCenterGreedyParams<T>& p, const Rows<T>& rows, compute_t<T>* m, Best<compute_t<T>> best,
                     int64_t t) {
  p.positions[t] = rows.position(best.position);
  p.sqradius[t] = best.value;
  m[best.position] = -1;
}

// Brings m up to date with the last pick and makes pick t.
template <class T>
__global__ void k_center_step_kernel(KCenterGreedyParams<T> p, Rows<T> rows, bool vectorized, compute_t<T>* m,
                                     GridBest<compute_t<T>> scratch, int64_t t) {
  using C = compute_t<T>;
  const int lane = threadIdx.x % warp_size;
  Best<C> best = worst_of_all<C>();
  const ScaledRow<T> center[1] = {t > 0 ? rows.at(p.positions[t - 1]) : ScaledRow<T>{}};
  for (int64_t first = first_row(); first < rows.size; first += row_step()) {
    C sqdist[group][1];
    if (t > 0) {
      ScaledRow<T> row[group];
      group_rows(rows, first, row);
      warp_pairs<SquaredDifference>(row, center, rows.d, vectorized, sqdist);
    }
#pragma unroll
    for (int r = 0; r < group; ++r) {
      if (lane != r || first + r >= rows.size) continue;
      C value = m[first + r];
      if (t > 0 && sqdist[r][0] < value) m[first + r] = value = sqdist[r][0];
      best = better(best, Best<C>{value, first + r});
    }
  }
  if (!grid_best(best, scratch)) return;
  if (threadIdx.x != 0) return;
  if (t == 0 && p.start >= 0) {
    int64_t low = 0, high = rows.size;  // the candidates ascend
    while (low < high) {
      const int64_t middle = low + (high - low) / 2;
      if (rows.position(middle) < p.start)
        low = middle + 1;
      else
        high = middle;
    }
    best.position = min(low, rows.size - 1);
    best.value = m[best.position];
  }
  take(p, rows, m, best, t);
}

// The m of a candidate that has been compared with `known` of the t picks, by a warp: up to date if known is t on
// return, and else below `enough`.
template <class T>
__device__ compute_t<T> catch_up(const KCenterGreedyParams<T>& p, const Rows<T>& rows, bool vectorized,
                                 int64_t candidate, compute_t<T> m, compute_t<T> enough, int64_t t, int64_t& known) {
  const ScaledRow<T> row[1] = {rows.row(candidate)};
  while (known < t && m >= enough) {
    ScaledRow<T> center[ahead];
#pragma unroll
    for (int k = 0; k < ahead; ++k) center[k] = rows.at(p.positions[min(known + k, t - 1)]);
    compute_t<T> sqdist[1][ahead];
    warp_pairs<SquaredDifference>(row, center, rows.d, vectorized, sqdist);
#pragma unroll
    for (int k = 0; k < ahead; ++k) m = min(m, sqdist[0][k]);
    known = min(known + ahead, t);
  }
  return m;
}

// A warp for each block's best of pick t - 1.
template <class T>
__global__ void k_center_seed_kernel(KCenterGreedyParams<T> p, Scratch<T> s, int64_t blocks, int64_t t) {
  const int64_t b = static_cast<int64_t>(blockIdx.x) * warps + threadIdx.x / warp_size;
  if (b >= blocks) return;
  const int64_t i = s.best.positions[b];
  if (i >= s.rows.size || s.m[i] < 0) return;  // the block had none, or it is the pick
  int64_t known = plain_picks - 1 + s.seen[i];
  const auto m = catch_up(p, s.rows, s.vectorized, i, s.m[i], compute_t<T>(0), t, known);
  warp_sync();
  if (threadIdx.x % warp_size != 0) return;
  s.m[i] = m;
  s.seen[i] = static_cast<int>(known - (plain_picks - 1));
  atomic_max(s.reached + t, bits_of(m));
}

template <class T>
__global__ void k_center_lazy_kernel(KCenterGreedyParams<T> p, Scratch<T> s, int64_t t) {
  using C = compute_t<T>;
  const int lane = threadIdx.x % warp_size;
  const int64_t step = static_cast<int64_t>(gridDim.x) * threads;
  Best<C> best = worst_of_all<C>();
  for (int64_t base = (static_cast<int64_t>(blockIdx.x) * warps + threadIdx.x / warp_size) * warp_size;
       base < s.rows.size; base += step) {
    const int64_t i = base + lane;
    C m = i < s.rows.size ? s.m[i] : C(-1);
    int64_t known = i < s.rows.size ? plain_picks - 1 + s.seen[i] : t;
    while (true) {
      const C enough = from_bits(static_cast<decltype(bits_of(C()))>(lane_value(read_fresh(s.reached + t), 0)));
      const bool visit = known < t && m >= enough;
      const Best<C> top = warp_best(visit ? Best<C>{m, lane} : worst_of_all<C>());
      if (top.position == beyond_all) break;
      const int owner = static_cast<int>(top.position);
      int64_t caught_up = lane_value(known, owner);
      const C now = catch_up(p, s.rows, s.vectorized, base + owner, top.value, enough, t, caught_up);
      if (lane == owner) {
        s.m[i] = m = now;
        known = caught_up;
        s.seen[i] = static_cast<int>(known - (plain_picks - 1));
        if (known == t) atomic_max(s.reached + t, bits_of(now));
      }
      warp_sync();
    }
    if (known == t && m >= 0) best = better(best, Best<C>{m, i});
  }
  if (grid_best(best, s.best) && threadIdx.x == 0) take(p, s.rows, s.m, best, t);
}

}  // namespace

template <class T>
int64_t k_center_greedy_scratch(const KCenterGreedyParams<T>& p) {
  return Scratch<T>(p, nullptr).arena.bytes();
}

template <class T>
void k_center_greedy(const KCenterGreedyParams<T>& p, void* scratch, CUstream_st* stream) {
  const Scratch<T> s(p, scratch);
  const Rows<T> all = all_rows(p.X), covered = rows_listed(p.X, p.covered.data, p.covered.size);
  if (p.coverage && covered.size > 0)
    launch(k_center_cover_kernel<T>, grid_for(all.size, warps * group, max_partials), threads, stream, all, covered,
           s.vectorized, p.coverage, p.coverage);
  if (p.batch_size == 0 || s.rows.size == 0) return;
  const unsigned grid = grid_for(s.rows.size, warps * group, max_partials);
  set_bytes(s.best.arrived, 1, 0, stream);
  if (p.coverage)
    launch(k_center_candidates_kernel<T>, grid_for(s.rows.size, threads), threads, stream, s.rows, p.coverage, s.m);
  else
    launch(k_center_cover_kernel<T>, grid, threads, stream, s.rows, covered, s.vectorized, nullptr, s.m);
  const int64_t plain = s.lazy ? plain_picks : p.batch_size;
  for (int64_t t = 0; t < plain; ++t) {
    launch(k_center_step_kernel<T>, grid, threads, stream, p, s.rows, s.vectorized, s.m, s.best, t);
  }
  if (!s.lazy) return;
  set_bytes(s.seen, s.rows.size, 0, stream);
  set_bytes(s.reached, p.batch_size, 0, stream);
  const unsigned lazy_grid = grid_for(s.rows.size, threads, max_partials);
  for (int64_t t = plain; t < p.batch_size; ++t) {
    const unsigned seeds = t == plain ? grid : lazy_grid;
    launch(k_center_seed_kernel<T>, grid_for(seeds, warps), threads, stream, p, s, seeds, t);
    launch(k_center_lazy_kernel<T>, lazy_grid, threads, stream, p, s, t);
  }
}

PYAL_INSTANTIATE_CUDA_KERNEL(k_center_greedy, KCenterGreedyParams)

}  // namespace pyal::cuda
