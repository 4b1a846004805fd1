// The greedy loop is lazy: a candidate's bound may be stale, that is, not account for the latest picks. A wave takes the stale
// candidates with the largest bounds and compares them with the picks that they have missed, in groups and in parallel. The
// latest picks stay packed for this. When there is no room for another one, all candidates are brought up to date at once.
#include "k_center_greedy.hpp"

#include "../cpu/instantiate.hpp"
#include "../cpu/max_tree.hpp"
#include "../cpu/nearest.hpp"

namespace pyal::cpu {
namespace {

// How many candidates a group of a wave holds. A larger group shares its cost among more of them, a smaller one compares fewer
// that the pick does not need.
constexpr int64_t group_rows = Filter::few, most_groups = 64, buckets = 64;
constexpr int64_t worth_sharing = 2048;  // values in a wave's rows; with fewer, waking other threads takes longer

template <class T>
struct Layout {
  using V = compute_t<T>;
  int64_t n;        // candidates
  MaxTree<V> bound; // (n,) upper bound on m; -inf where picked, or in the wave
  int32_t* seen;    // (n,) how many of the latest picks the bound accounts for
  V* origin;
  double* mean;
  V* best;          // (X.rows,)
  Nearest<T> nearest;

  Layout(const KCenterGreedyParams<T>& p, int threads, Arena& arena)
      : n(p.candidates.data ? p.candidates.size : p.X.rows),
        bound(n, arena),
        seen(arena.take<int32_t>(n)),
        origin(arena.take<V>(p.X.cols)),
        mean(arena.take<double>(p.X.cols)),
        best(arena.take<V>(p.X.rows)),
        nearest(p.X.cols, at_least(p.covered.size, p.batch_size), threads, arena) {}
};

// The state of the greedy loop: the bounds (in the layout), the picks so far, and the latest ones, which bounds may have missed.
template <class T>
struct Greedy {
  using V = compute_t<T>;
  const KCenterGreedyParams<T>& p;
  Layout<T>& s;
  const Control& control;
  RowList<T> candidates = {p.X, p.candidates.data};
  Frame<T> frame = {};
  int64_t picked = 0, first_recent = 0;
  int64_t wave[most_groups * group_rows] = {}, wave_position[most_groups * group_rows] = {}, wave_size = 0;
  V wave_bound[most_groups * group_rows] = {};

  int64_t recent() const { return picked - first_recent; }
  RowList<T> picks() const { return {p.X, p.positions}; }

  // Brings what is carried down to the distances to the rows covered since, for all rows. False: stopped early.
  bool carry() {
    const RowList<T> rows = {p.X, nullptr}, covered = {p.X, p.covered.data};
    frame = make_frame(rows, p.X.rows, s.origin, s.mean);
    return !p.covered.size ||
           s.nearest.run(rows, p.X.rows, covered, p.covered.size, frame, p.coverage, nullptr, nullptr, control);
  }

  // Brings all bounds down to the distances to some of the centres.
  bool lower_all(const RowList<T>& centers, int64_t count) {
    V* bound = s.bound.values();
    for (int64_t i = 0; i < s.n; ++i) s.best[candidates.position(i)] = bound[i];
    const bool completed = s.nearest.run(candidates, s.n, centers, count, frame, s.best, nullptr, nullptr, control);
    for (int64_t i = 0; i < s.n; ++i) bound[i] = s.best[candidates.position(i)];
    return completed;
  }

  bool begin() {
    V* bound = s.bound.values();
    const V infinity = static_cast<V>(__builtin_inf());
    if (p.coverage && !carry()) return false;
    if (p.batch_size == 0) return true;
    for (int64_t i = 0; i < s.n; ++i) bound[i] = p.coverage ? p.coverage[candidates.position(i)] : infinity;
    if (!p.coverage) {
      const RowList<T> covered = {p.X, p.covered.data};
      frame = including(make_frame(candidates, s.n, s.origin, s.mean), covered, p.covered.size);
      if (p.covered.size && !lower_all(covered, p.covered.size)) return false;
    }
    // `start` may fix the first pick. So does the rule where nothing is covered: all are at +inf, and the lowest candidate wins.
    if (p.start >= 0 || bound[0] == infinity) {
      int64_t first = 0;
      if (p.start >= 0)
        while (candidates.position(first) != p.start) ++first;
      record(first);
      bound[first] = MaxTree<V>::none();
    }
    return picked == p.batch_size || catch_up();
  }

  // Brings all candidates up to date with the latest picks, so that none of these need stay packed.
  bool catch_up() {
    if (!lower_all({p.X, p.positions + first_recent}, recent())) return false;
    first_recent = picked;
    s.nearest.set_centers(picks(), picked, 0, frame);
    for (int64_t i = 0; i < s.n; ++i) s.seen[i] = 0;
    s.bound.build();
    return true;
  }

  bool up_to_date(int64_t i) const { return s.seen[i] == recent(); }

  // Takes stale candidates, largest bound first, until `groups` groups are full or a candidate is up to date: no candidate after
  // it can be the pick. Then it sorts them roughly by what they have seen, so that a group's candidates have missed the same.
  void take_wave(int64_t groups) {
    int64_t taken[most_groups * group_rows], start[buckets + 1] = {};
    V taken_bound[most_groups * group_rows];
    const auto bucket = [&](int64_t i) { return s.seen[i] * buckets / recent(); };  // stale: seen < recent()
    for (wave_size = 0; wave_size < groups * group_rows; ++wave_size) {
      const int64_t i = s.bound.top();
      if (s.bound[i] < 0 || up_to_date(i)) break;
      taken[wave_size] = i;
      taken_bound[wave_size] = s.bound[i];
      ++start[bucket(i) + 1];
      s.bound.set(i, MaxTree<V>::none());
    }
    for (int64_t k = 0; k < buckets; ++k) start[k + 1] += start[k];
    for (int64_t t = 0; t < wave_size; ++t) {
      const int64_t w = start[bucket(taken[t])]++;
      wave[w] = taken[t];
      wave_bound[w] = taken_bound[t];
      wave_position[w] = candidates.position(wave[w]);
    }
  }

  bool update_wave(int64_t groups) {
    take_wave(groups);
    const RowList<T> rows = {p.X, wave_position};
    const auto update = [&](int64_t item, int worker) {
      const int64_t w0 = item * group_rows, count = at_most(group_rows, wave_size - w0);
      Found<V> found[group_rows];
      int64_t from[group_rows];
      for (int64_t r = 0; r < count; ++r) {
        found[r].best = wave_bound[w0 + r];
        from[r] = s.seen[wave[w0 + r]];
      }
      s.nearest.compare(rows, w0, count, w0 + count, frame, from, false, found, worker);
      for (int64_t r = 0; r < count; ++r) wave_bound[w0 + r] = found[r].best;
    };
    const double done = static_cast<double>(picked) / static_cast<double>(p.batch_size);
    const Control workers = {wave_size * p.X.cols < worth_sharing ? 1 : control.threads, control.poll, control.context};
    if (!parallel_for(workers, (wave_size + group_rows - 1) / group_rows, update, done, done)) return false;
    for (int64_t w = 0; w < wave_size; ++w) {
      s.seen[wave[w]] = static_cast<int32_t>(recent());
      s.bound.set(wave[w], wave_bound[w]);
    }
    return true;
  }

  void record(int64_t i) {
    p.positions[picked] = candidates.position(i);
    p.sqradius[picked] = s.bound[i];
    ++picked;
  }

  bool pick() {
    const int64_t shared = control.threads * group_rows * p.X.cols < worth_sharing ? 1 : control.threads;
    for (int64_t groups = shared; !up_to_date(s.bound.top()); groups = at_most(2 * groups, most_groups))
      if (!update_wave(at_most(groups, most_groups))) return false;
    const int64_t best = s.bound.top();
    record(best);
    s.bound.set(best, MaxTree<V>::none());
    if (picked == p.batch_size) return true;
    if (recent() > s.nearest.room()) return catch_up();
    s.nearest.add_center(frame);
    return true;
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
  if (p.batch_size == 0 && !p.coverage) return true;
  Arena arena(scratch);
  Layout<T> s(p, control.threads, arena);
  Greedy<T> greedy = {p, s, control};
  if (!greedy.begin()) return false;
  while (greedy.picked < p.batch_size)
    if (!greedy.pick()) return false;
  return true;
}

PYAL_INSTANTIATE_KERNEL(k_center_greedy, KCenterGreedyParams)

}  // namespace pyal::cpu
