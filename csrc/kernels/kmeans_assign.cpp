// A row whose bounds leave no doubt keeps its centre and is not read. A fixed row takes the centre it is fixed to. All others go
// through Nearest. The sums are added up centre by centre, so that no two threads add to the same number.
#include "kmeans_assign.hpp"

#include "../cpu/instantiate.hpp"
#include "../cpu/nearest.hpp"

namespace pyal::cpu {
namespace {

constexpr int64_t row_chunk = 1024;
constexpr int64_t most_kept = int64_t(256) << 20;  // bytes
// When the parts of a step end, as shares of the time that a first step takes.
constexpr double doubts_end = 0.05, filled_end = 0.2, nearest_end = 0.9, sums_end = 0.95;

template <class T>
struct Layout {
  using V = compute_t<T>;
  V* origin;
  double* mean;
  int64_t* active;       // rows to look at, ascending
  int64_t* chunk_count;
  int64_t* previous;     // (n,) centre before this step, -1: none
  int64_t* grouped;      // rows by centre
  int64_t* start;        // (k + 1,) where each centre's begin
  V* best;
  double* kept_scale;    // of the frame that `kept` was filled in
  KeptRows<T> kept;
  Nearest<T> nearest;

  Layout(const KmeansAssignParams<T>& p, int threads, Arena& arena)
      : origin(arena.take<V>(p.X.cols)),
        mean(arena.take<double>(p.X.cols)),
        active(arena.take<int64_t>(p.X.rows)),
        chunk_count(arena.take<int64_t>(p.X.rows / row_chunk + 1)),
        previous(arena.take<int64_t>(p.X.rows)),
        grouped(arena.take<int64_t>(p.X.rows)),
        start(arena.take<int64_t>(p.k + 1)),
        best(arena.take<V>(p.X.rows)),
        kept_scale(arena.take<double>(1)),
        kept(p.X, most_kept, threads, arena),
        nearest(p.X.cols, p.k, threads, arena) {}
};

// The largest move of a centre, and the largest move among the other centres.
template <class V>
struct Moves {
  V largest = 0, other = 0;
  int64_t farthest = -1;

  Moves(const V* moved, int64_t k) {
    for (int64_t c = 0; moved && c < k; ++c) {
      if (moved[c] > largest || farthest < 0) {
        other = largest;
        largest = moved[c];
        farthest = c;
      } else if (moved[c] > other) {
        other = moved[c];
      }
    }
  }
  V of_others_than(int64_t c) const { return c == farthest ? other : largest; }
};

// Whether row i may have another nearest centre than before. Its bounds are changed by what the centres have moved.
template <class T>
bool in_doubt(const KmeansAssignParams<T>& p, const Moves<compute_t<T>>& moves, int64_t i) {
  using V = compute_t<T>;
  const int64_t own = p.assignment[i], d = p.X.cols;
  p.upper[i] = (p.upper[i] + p.moved[own]) * static_cast<V>(1 + 0x1p-21);
  p.lower[i] = (p.lower[i] - moves.of_others_than(own)) * static_cast<V>(1 - 0x1p-21);
  if (p.upper[i] < p.lower[i]) return false;
  // The exact distance costs a read of the row. It is rarely below the bound by more than twice what the centre has moved.
  if (p.upper[i] - p.lower[i] > 2 * p.moved[own] + (p.upper[i] + p.lower[i]) * static_cast<V>(0x1p-11)) return true;
  p.upper[i] = distance_up(sqdist(row(p.X, i), plain(p.centers + own * d), d), d);
  return !(p.upper[i] < p.lower[i]);
}

// Writes the rows to look at into s.active, and their number into `active`. False: stopped early.
template <class T>
bool find_active(const KmeansAssignParams<T>& p, Layout<T>& s, int64_t& active, const Control& control) {
  using V = compute_t<T>;
  const int64_t n = p.X.rows, n_chunks = (n + row_chunk - 1) / row_chunk;
  const Moves<V> moves(p.moved, p.k);
  const bool completed = parallel_for(control, n_chunks, [&](int64_t item, int) {
    int64_t count = 0;
    for (int64_t i = item * row_chunk; i < at_most((item + 1) * row_chunk, n); ++i) {
      s.previous[i] = p.moved ? p.assignment[i] : -1;
      if (p.fixed && p.fixed[i] >= 0) {
        p.assignment[i] = p.fixed[i];
        p.upper[i] = static_cast<V>(__builtin_inf());  // true of any centre, so the row may be freed later
        p.lower[i] = 0;
      } else if (!p.moved || in_doubt(p, moves, i)) {
        s.active[item * row_chunk + count++] = i;
      }
    }
    s.chunk_count[item] = count;
  }, 0, doubts_end);
  active = 0;
  for (int64_t item = 0; completed && item < n_chunks; ++item)
    for (int64_t r = 0; r < s.chunk_count[item]; ++r) s.active[active++] = s.active[item * row_chunk + r];
  return completed;
}

template <class T>
bool find_nearest(const KmeansAssignParams<T>& p, Layout<T>& s, int64_t active, const Control& control) {
  using V = compute_t<T>;
  if (active == 0 && p.moved) return true;
  const V infinity = static_cast<V>(__builtin_inf());
  const RowList<T> rows = {p.X, nullptr}, list = {p.X, s.active};
  const RowList<T> centers = {plain(p.centers, p.k, p.X.cols), nullptr};
  for (int64_t r = 0; r < active; ++r) {
    s.best[s.active[r]] = infinity;
    p.lower[s.active[r]] = infinity;
  }
  const Frame<T> frame = including(make_frame(rows, p.X.rows, s.origin, s.mean), centers, p.k);
  if (!p.moved || *s.kept_scale != static_cast<double>(frame.scale)) {
    if (!s.kept.fill(rows, frame, control, doubts_end, filled_end)) return false;
    *s.kept_scale = static_cast<double>(frame.scale);
  }
  if (!s.nearest.run(list, active, centers, p.k, frame, s.best, p.assignment, p.lower, control, filled_end, nearest_end, &s.kept))
    return false;
  for (int64_t r = 0; r < active; ++r) p.upper[s.active[r]] = distance_up(s.best[s.active[r]], p.X.cols);
  return true;
}

// Leaves in s.active the rows whose centre has changed, ascending, and returns how many they are.
template <class T>
int64_t keep_changed(const KmeansAssignParams<T>& p, Layout<T>& s, int64_t active) {
  int64_t changed = 0;
  const int64_t rows_to_look_at = p.fixed ? p.X.rows : active;  // with fixed rows any row may have changed
  for (int64_t r = 0; r < rows_to_look_at; ++r) {
    const int64_t i = p.fixed ? r : s.active[r];
    if (p.assignment[i] != s.previous[i]) s.active[changed++] = i;
  }
  return changed;
}

// Adds the rows (or, with sign = -1, subtracts them) to the sums of the centres that `owner` names. It takes centre by centre,
// so that their sums stay in cache, and the rows of each in order.
template <class T>
bool add_rows(const KmeansAssignParams<T>& p, const Layout<T>& s, int64_t count, const int64_t* owner, double sign,
              const Control& control, double before, double after) {
  using V = compute_t<T>;
  const int64_t d = p.X.cols;
  for (int64_t c = 0; c <= p.k; ++c) s.start[c] = 0;
  for (int64_t r = 0; r < count; ++r) ++s.start[owner[s.active[r]] + 1];
  for (int64_t c = 0; c < p.k; ++c) {
    p.counts[c] += static_cast<int64_t>(sign) * s.start[c + 1];
    s.start[c + 1] += s.start[c];
  }
  for (int64_t r = 0; r < count; ++r) s.grouped[s.start[owner[s.active[r]]]++] = s.active[r];
  const int64_t slabs = at_most((d + 63) / 64, at_least(1, 8 * control.threads / p.k)), width = (d + slabs - 1) / slabs;
  return parallel_for(control, p.k * slabs, [&](int64_t item, int) {
    const int64_t c = item / slabs, c0 = item % slabs * width, columns = at_most(width, d - c0);  // of the last slabs maybe none
    double* sums = p.sums + c * d;
    for (int64_t r = c > 0 ? s.start[c - 1] : 0; r < s.start[c]; ++r) {  // by now start[c] is where the next centre's begin
      if (r + 4 < s.start[c]) {
        const Row<T> later = row(p.X, s.grouped[r + 4]);
        prefetch(static_cast<const char*>(later.data) + c0 * later.bytes_per_value(), columns * later.bytes_per_value());
      }
      for_values(row(p.X, s.grouped[r]), c0, c0 + columns, [&](int64_t j, V value) {
        sums[j] = multiply_add(sign, static_cast<double>(value), sums[j]);
      });
    }
  }, before, after);
}

template <class T>
bool update_sums(const KmeansAssignParams<T>& p, const Layout<T>& s, int64_t changed, const Control& control) {
  if (!p.moved) {
    for (int64_t c = 0; c < p.k; ++c) p.counts[c] = 0;
    for (int64_t c = 0; c < p.k * p.X.cols; ++c) p.sums[c] = 0;
  } else if (!add_rows(p, s, changed, s.previous, -1, control, nearest_end, (nearest_end + sums_end) / 2)) {
    return false;
  }
  return add_rows(p, s, changed, p.assignment, 1, control, (nearest_end + sums_end) / 2, sums_end);
}

}  // namespace

template <Isa isa, class T>
int64_t kmeans_assign_scratch(const KmeansAssignParams<T>& p, int threads) {
  Arena arena(nullptr);
  Layout<T>(p, threads, arena);
  return arena.bytes();
}

template <Isa isa, class T>
bool kmeans_assign(const KmeansAssignParams<T>& p, void* scratch, const Control& control) {
  Arena arena(scratch);
  Layout<T> s(p, control.threads, arena);
  const int64_t n = p.X.rows, d = p.X.cols;
  int64_t active = 0;
  if (!find_active(p, s, active, control) || !find_nearest(p, s, active, control)) return false;
  if (!update_sums(p, s, keep_changed(p, s, active), control)) return false;
  if (!p.sqdist) return true;
  return parallel_for(control, (n + row_chunk - 1) / row_chunk, [&](int64_t item, int) {
    for (int64_t i = item * row_chunk; i < at_most((item + 1) * row_chunk, n); ++i) {
      if (i + rows_ahead < n) prefetch_row(row(p.X, i + rows_ahead), d);
      p.sqdist[i] = sqdist(row(p.X, i), plain(p.centers + p.assignment[i] * d), d);
    }
  }, sums_end, 1);
}

PYAL_INSTANTIATE_KERNEL(kmeans_assign, KmeansAssignParams)

}  // namespace pyal::cpu
