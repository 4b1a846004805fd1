// Rows whose bounds leave no doubt keep their centre unread; the others go through Nearest. The sums are added up slab of
// columns by slab of columns, each in row order, so no thread ever adds to another's number.
#include "kmeans_assign.hpp"

#include "../instantiate.hpp"
#include "../nearest.hpp"

namespace pyal::cpu {
namespace {

constexpr int64_t row_chunk = 1024, column_slab = 64;

template <class T>
struct Layout {
  using V = compute_t<T>;
  V* origin;
  double* mean;
  int64_t* active;       // rows to look at, ascending
  int64_t* chunk_count;
  int64_t* previous;     // (n,) centre before this step, -1: none
  V* best;
  Nearest<T, V> nearest;

  Layout(const KmeansAssignParams<T>& p, int threads, Arena& arena)
      : origin(arena.take<V>(p.X.cols)),
        mean(arena.take<double>(p.X.cols)),
        active(arena.take<int64_t>(p.X.rows)),
        chunk_count(arena.take<int64_t>(p.X.rows / row_chunk + 1)),
        previous(arena.take<int64_t>(p.X.rows)),
        best(arena.take<V>(p.X.rows)),
        nearest(p.X.cols, p.k, threads, arena) {}
};

template <class V>
V root_up(V square) {
  return static_cast<V>(__builtin_sqrt(static_cast<double>(square)) * (1 + 0x1p-21));
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
  using V = compute_t<T>;
  Arena arena(scratch);
  Layout<T> s(p, control.threads, arena);
  const int64_t n = p.X.rows, d = p.X.cols, n_chunks = (n + row_chunk - 1) / row_chunk;
  const V infinity = static_cast<V>(__builtin_inf());
  const RowList<T> rows = {p.X, nullptr};
  const RowList<V> centers = {{p.centers, p.k, d}, nullptr};

  // The largest move of a centre, and the largest of all the others than that one.
  V largest = 0, other = 0;
  int64_t farthest = -1;
  for (int64_t c = 0; p.moved && c < p.k; ++c) {
    if (p.moved[c] > largest || farthest < 0) {
      other = largest;
      largest = p.moved[c];
      farthest = c;
    } else if (p.moved[c] > other) {
      other = p.moved[c];
    }
  }
  bool completed = parallel_for(control, n_chunks, [&](int64_t item, int) {
    int64_t count = 0;
    for (int64_t i = item * row_chunk; i < at_most((item + 1) * row_chunk, n); ++i) {
      s.previous[i] = p.moved ? p.assignment[i] : -1;
      if (p.moved) {
        const int64_t own = p.assignment[i];
        p.upper[i] = (p.upper[i] + p.moved[own]) * static_cast<V>(1 + 0x1p-21);
        p.lower[i] = (p.lower[i] - (own == farthest ? other : largest)) * static_cast<V>(1 - 0x1p-21);
        if (p.upper[i] < p.lower[i]) continue;
        p.upper[i] = root_up<V>(sqdist(rows[i], centers[own], d));
        if (p.upper[i] < p.lower[i]) continue;
      }
      s.active[item * row_chunk + count++] = i;
    }
    s.chunk_count[item] = count;
  });
  if (!completed) return false;
  int64_t active = 0;
  for (int64_t item = 0; item < n_chunks; ++item)
    for (int64_t r = 0; r < s.chunk_count[item]; ++r) s.active[active++] = s.active[item * row_chunk + r];

  const RowList<T> list = {p.X, s.active};
  for (int64_t r = 0; r < active; ++r) {
    s.best[s.active[r]] = infinity;
    p.lower[s.active[r]] = infinity;
  }
  if (active) {
    const Frame<T> frame = including(make_frame(rows, n, s.origin, s.mean), centers, p.k);
    if (!s.nearest.run(list, active, centers, p.k, frame, s.best, p.assignment, p.lower, control)) return false;
  }
  int64_t changed = 0;
  for (int64_t r = 0; r < active; ++r) {
    const int64_t i = s.active[r];
    p.upper[i] = root_up<V>(s.best[i]);
    if (p.assignment[i] != s.previous[i]) s.active[changed++] = i;
  }

  if (!p.moved)
    for (int64_t c = 0; c < p.k; ++c) p.counts[c] = 0;
  for (int64_t r = 0; r < changed; ++r) {
    const int64_t i = s.active[r];
    if (s.previous[i] >= 0) --p.counts[s.previous[i]];
    ++p.counts[p.assignment[i]];
  }
  completed = parallel_for(control, (d + column_slab - 1) / column_slab, [&](int64_t item, int) {
    const int64_t c0 = item * column_slab, width = at_most(column_slab, d - c0);
    if (!p.moved)
      for (int64_t c = 0; c < p.k; ++c)
        for (int64_t j = 0; j < width; ++j) p.sums[c * d + c0 + j] = 0;
    for (int64_t r = 0; r < changed; ++r) {
      const int64_t i = s.active[r];
      const T* x = rows[i] + c0;
      if (s.previous[i] >= 0) {
        double* from = p.sums + s.previous[i] * d + c0;
        for (int64_t j = 0; j < width; ++j) from[j] -= static_cast<double>(widen(x[j]));
      }
      double* to = p.sums + p.assignment[i] * d + c0;
      for (int64_t j = 0; j < width; ++j) to[j] += static_cast<double>(widen(x[j]));
    }
  });
  if (!completed) return false;
  if (!p.sqdist) return true;
  return parallel_for(control, n_chunks, [&](int64_t item, int) {
    for (int64_t i = item * row_chunk; i < at_most((item + 1) * row_chunk, n); ++i)
      p.sqdist[i] = sqdist(rows[i], centers[p.assignment[i]], d);
  });
}

PYAL_INSTANTIATE_KERNEL(kmeans_assign, KmeansAssignParams)

}  // namespace pyal::cpu
