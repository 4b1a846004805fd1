// Lazy greedy. A wave takes the stale candidates at the top of the heap and brings them up to date in parallel, four
// missed centres at a time; a candidate whose bound falls below a value that another has already reached stays stale.
#include "k_center_greedy.hpp"

#include "../heap.hpp"
#include "../instantiate.hpp"
#include "../nearest.hpp"

namespace pyal::cpu {
namespace {

constexpr int64_t wave_rows = 64, rows_per_item = 4;

template <class T>
struct Layout {
  using V = compute_t<T>;
  int64_t n;  // candidates
  V* bound;       // (n,) upper bound on m
  int32_t* seen;  // (n,) how many picks the bound accounts for
  HeapEntry<V>* heap;
  V* origin;
  double* mean;
  V* best;  // (X.rows,), with covered rows
  Nearest<T, T> nearest;

  Layout(const KCenterGreedyParams<T>& p, int threads, Arena& arena)
      : n(p.candidates.data ? p.candidates.size : p.X.rows),
        bound(arena.take<V>(n)),
        seen(arena.take<int32_t>(n)),
        heap(arena.take<HeapEntry<V>>(n)),
        origin(arena.take<V>(p.X.cols)),
        mean(arena.take<double>(p.X.cols)),
        best(arena.take<V>(p.covered.size ? p.X.rows : 0)),
        nearest(p.X.cols, at_least(p.covered.size, 1), threads, arena) {}
};

// The greedy loop's state: bounds in the layout, the order to look at them, the picks so far.
template <class T>
struct Greedy {
  using V = compute_t<T>;
  const KCenterGreedyParams<T>& p;
  Layout<T>& s;
  const Control& control;
  RowList<T> candidates = {p.X, p.candidates.data}, picks = {p.X, p.positions};
  Heap<V> heap = {nullptr, 0};  // of indices into the candidates
  int64_t picked = 0;
  V reached = -1;  // largest m known to be reached by an up-to-date candidate
  int64_t wave[wave_rows] = {}, wave_size = 0;

  // Distances to the covered rows; +inf where there are none.
  bool first_bounds() {
    const V infinity = static_cast<V>(__builtin_inf());
    for (int64_t i = 0; i < s.n; ++i) s.bound[i] = infinity;
    if (!p.covered.size) return true;
    const RowList<T> covered = {p.X, p.covered.data};
    const Frame<T> frame = including(make_frame(candidates, s.n, s.origin, s.mean), covered, p.covered.size);
    for (int64_t i = 0; i < s.n; ++i) s.best[candidates.position(i)] = infinity;
    if (!s.nearest.run(candidates, s.n, covered, p.covered.size, frame, s.best, nullptr, nullptr, control))
      return false;
    for (int64_t i = 0; i < s.n; ++i) s.bound[i] = s.best[candidates.position(i)];
    return true;
  }

  // All candidates but the first pick, where that is fixed by `start`, or by the rule where nothing is covered (all at
  // +inf: the lowest candidate).
  bool fill_heap() {
    int64_t first = -1;
    if (p.start >= 0 || !p.covered.size) {
      first = 0;
      if (p.start >= 0)
        while (candidates.position(first) != p.start) ++first;
      p.positions[0] = candidates.position(first);
      p.sqradius[0] = s.bound[first];
      picked = 1;
      if (!lower_all(picks[0])) return false;
    }
    int64_t size = 0;
    for (int64_t i = 0; i < s.n; ++i) {
      s.seen[i] = static_cast<int32_t>(picked);
      if (i != first) s.heap[size++] = {s.bound[i], i};
    }
    heap = Heap<V>(s.heap, size);
    return true;
  }

  bool lower_all(const T* center) {
    constexpr int64_t chunk = 512;
    return parallel_for(control, (s.n + chunk - 1) / chunk, [&](int64_t item, int) {
      const int64_t end = at_most((item + 1) * chunk, s.n);
      for (int64_t i = item * chunk; i < end; i += 4) {
        const T* rows[4];
        V sq[4];
        for (int r = 0; r < 4; ++r) rows[r] = candidates[at_most(i + r, s.n - 1)];
        sqdist4(rows, center, p.X.cols, sq);
        for (int64_t r = 0; r < at_most(4, end - i); ++r)
          if (sq[r] < s.bound[i + r]) s.bound[i + r] = sq[r];
      }
    });
  }

  bool up_to_date(const HeapEntry<V>& entry) const { return s.seen[entry.position] == picked; }

  void take_wave() {
    for (wave_size = 0; wave_size < wave_rows && heap.size() > 0; heap.pop()) {
      const HeapEntry<V> top = heap.top();
      if (up_to_date(top)) {
        if (top.bound > reached) reached = top.bound;
        break;
      }
      wave[wave_size++] = top.position;
    }
  }

  void catch_up(int64_t i) {
    const T* x = candidates[i];
    V bound = s.bound[i];
    int64_t seen = s.seen[i];
    while (seen < picked) {
      const T* centers[4];
      V sq[4], enough;
      for (int r = 0; r < 4; ++r) centers[r] = picks[at_most(seen + r, picked - 1)];
      sqdist4(centers, x, p.X.cols, sq);
      for (int r = 0; r < 4; ++r)
        if (sq[r] < bound) bound = sq[r];
      seen = at_most(seen + 4, picked);
      __atomic_load(&reached, &enough, __ATOMIC_RELAXED);
      if (bound < enough) break;
    }
    s.bound[i] = bound;
    s.seen[i] = static_cast<int32_t>(seen);
    V known;
    __atomic_load(&reached, &known, __ATOMIC_RELAXED);
    if (seen == picked && bound > known) __atomic_store(&reached, &bound, __ATOMIC_RELAXED);
  }

  bool update_wave() {
    take_wave();
    const auto update = [&](int64_t item, int) {
      for (int64_t w = item * rows_per_item; w < at_most((item + 1) * rows_per_item, wave_size); ++w) catch_up(wave[w]);
    };
    const double done = static_cast<double>(picked) / static_cast<double>(p.batch_size);
    if (!parallel_for(control, (wave_size + rows_per_item - 1) / rows_per_item, update, done, done)) return false;
    for (int64_t w = 0; w < wave_size; ++w) heap.push({s.bound[wave[w]], wave[w]});
    return true;
  }

  void pick_top() {
    const HeapEntry<V> best = heap.top();
    heap.pop();
    p.positions[picked] = candidates.position(best.position);
    p.sqradius[picked] = best.bound;
    ++picked;
    reached = -1;
  }
};

}  // namespace

template <Isa isa, class T>
int64_t k_center_greedy_scratch(const KCenterGreedyParams<T>& p, int threads) {
  Arena arena(nullptr);
  Layout<T>(p, threads, arena);
  return arena.bytes();
}

template <Isa isa, class T>
bool k_center_greedy(const KCenterGreedyParams<T>& p, void* scratch, const Control& control) {
  if (p.batch_size == 0) return true;
  Arena arena(scratch);
  Layout<T> s(p, control.threads, arena);
  Greedy<T> greedy = {p, s, control};
  if (!greedy.first_bounds() || !greedy.fill_heap()) return false;
  while (greedy.picked < p.batch_size) {
    while (!greedy.up_to_date(greedy.heap.top()))
      if (!greedy.update_wave()) return false;
    greedy.pick_top();
  }
  return true;
}

PYAL_INSTANTIATE_KERNEL(k_center_greedy, KCenterGreedyParams)

}  // namespace pyal::cpu
