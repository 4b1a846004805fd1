// One self-join over all rows that matter counts the first gains; where its bounds leave a doubt about a pair, the distance
// settles it. Then the loop is lazy: `covered_log` lists rows in the order in which they were covered, and a candidate catches up
// by subtracting the rows of its ball among the entries that it has not seen.
#include "ball_cover.hpp"

#include "../cpu/instantiate.hpp"
#include "../cpu/join.hpp"
#include "../cpu/max_tree.hpp"

namespace pyal::cpu {
namespace {

// How many pairs a join counts in the time of one squared distance, roughly; it only balances work.
constexpr double join_speed = 16;

constexpr int64_t wave_rows = 32, row_chunk = 512, log_check = 256;
constexpr int64_t most_counted = 1024;  // candidates of a wave that is counted over all uncovered rows
constexpr int64_t only_a_bound = -1;    // instead of how much of the log a gain accounts for

template <class T>
struct Layout {
  using V = compute_t<T>;
  V* origin;
  double* mean;
  int64_t* gain;         // (n,)
  uint8_t* uncovered;    // (n,)
  MaxTree<double> bound; // (n,) upper bound on the gain, exact as of `seen`; -inf: no candidate, picked, or in the wave
  int64_t* members;      // rows of the join
  int64_t* covered_log;  // (n,)
  int64_t* seen;         // (n,) entries of the log accounted for, or only_a_bound
  uint8_t* hit;          // (n,)
  int64_t* work_counts;  // (threads, columns of a block)
  Join<T> join;

  Layout(const BallCoverParams<T>& p, int threads, Arena& arena)
      : origin(arena.take<V>(p.X.cols)),
        mean(arena.take<double>(p.X.cols)),
        gain(arena.take<int64_t>(p.X.rows)),
        uncovered(arena.take<uint8_t>(p.X.rows)),
        bound(p.X.rows, arena),
        members(arena.take<int64_t>(p.X.rows)),
        covered_log(arena.take<int64_t>(p.X.rows)),
        seen(arena.take<int64_t>(p.X.rows)),
        hit(arena.take<uint8_t>(p.X.rows)),
        work_counts(arena.take<int64_t>(threads * block_columns(p.X.cols))),
        join(p.X.cols, 1, threads, arena) {}

  static int64_t block_columns(int64_t d) { return round_up(b_block<Filter>(d), Filter::cols); }
};

// Counts, for every row of a self-join, the uncovered rows inside its ball (the row itself is added by the caller); or, for
// the columns of a join of uncovered rows with them, only that.
template <class T>
struct Counter {
  const BallCoverParams<T>& p;
  Layout<T>& s;
  float inside, outside;  // Euclidean, scaled: surely inside below, surely outside above
  float slack;
  bool columns_only;

  void begin(const JoinBlock<T>& block, int worker) const {
    float* target_j = block.work + block.stride;
    for (int64_t j = 0; j < block.stride; ++j) {
      block.work[j] = j < block.b.count ? block.b.sqnorm[j] : 0;
      target_j[j] = j < block.b.count && s.uncovered[block.cols.position(block.j0 + j)] ? 1.0f : 0.0f;
      counts(worker)[j] = 0;
    }
  }

  void end(const JoinBlock<T>& block, int worker) const {
    if (!block.both && !columns_only) return;
    for (int64_t j = 0; j < block.b.count; ++j)
      if (counts(worker)[j])
        __atomic_fetch_add(&s.gain[block.cols.position(block.j0 + j)], counts(worker)[j], __ATOMIC_RELAXED);
  }

  int64_t* counts(int worker) const { return s.work_counts + worker * Layout<T>::block_columns(p.X.cols); }

  void group(const JoinBlock<T>& block, int64_t g, int64_t count, const float* c, int worker) const {
    constexpr int width = lanes<float>;
    const float near = inside - block.lost, far = outside + block.lost;
    const float sure_in = near > 0 ? near * near * (1 - 0x1p-21f) : -1, sure_out = far * far * (1 + 0x1p-21f);
    int64_t* column_counts = counts(worker);
    for (int64_t r = 0; r < count; ++r) {
      const int64_t i = block.rows.position(block.i0 + g + r);
      const float sq_i = block.a.sqnorm[g + r], target_i = s.uncovered[i];
      int64_t found = 0;
      for (int64_t j = 0; j < block.b.count; j += width) {
        const vec<float> norms = load(block.work + j) + sq_i;
        const vec<float> value = multiply_add(load(c + r * block.stride + j), splat(-2.0f), norms);
        uint32_t possible = lane_mask(multiply_add(norms, splat(-slack), value) <= splat(sure_out));
        if (block.b.count - j < width) possible &= (1u << (block.b.count - j)) - 1;
        if (!possible) continue;
        const uint32_t sure = lane_mask(multiply_add(norms, splat(slack), value) < splat(sure_in));
        for (; possible; possible &= possible - 1) {
          const int lane = lowest_bit(possible);
          const int64_t position = block.cols.position(block.j0 + j + lane);
          if (position == i) continue;
          if (!(sure >> lane & 1) &&
              !(static_cast<double>(sqdist(row(p.X, i), row(p.X, position), p.X.cols)) < p.sqradius))
            continue;
          if (block.work[block.stride + j + lane] > 0) ++found;
          if (target_i > 0) ++column_counts[j + lane];
        }
      }
      if (found && !columns_only) __atomic_fetch_add(&s.gain[i], found, __ATOMIC_RELAXED);
    }
  }
};

// The greedy loop's state: gains and the log in the layout, the order to look at candidates, the picks so far.
template <class T>
struct Greedy {
  using V = compute_t<T>;
  const BallCoverParams<T>& p;
  Layout<T>& s;
  const Control& control;
  int64_t n = p.X.rows, n_candidates = p.candidates.data ? p.candidates.size : n;
  RowList<T> rows = {p.X, nullptr}, candidates = {p.X, p.candidates.data};
  Frame<T> frame = make_frame(rows, n, s.origin, s.mean);
  int64_t logged = 0, picked = 0;
  double spent = 0;  // pairs compared since the last join
  int64_t reached = -1;  // largest gain known to be reached by an up-to-date candidate
  int64_t wave[most_counted] = {}, wave_gain[wave_rows] = {}, wave_size = 0;
  int64_t next_counted = wave_rows;  // how many candidates the next wave that is counted takes
  bool counting = false;             // the gains of the wave are counted over all uncovered rows, not by the log

  bool start() {
    for (int64_t i = 0; i < n; ++i) {
      s.gain[i] = 0;
      s.uncovered[i] = !(p.is_covered && p.is_covered[i]);
      s.hit[i] = 0;
      s.bound.values()[i] = MaxTree<double>::none();
    }
    for (int64_t c = 0; c < n_candidates; ++c) s.bound.values()[candidates.position(c)] = 0;
    for (int64_t c = 0; c < p.covered.size; ++c)
      if (!cover(row(p.X, p.covered.data[c]), false)) return false;
    return true;
  }

  bool cover(const Row<T>& center, bool log) {
    const auto mark = [&](int64_t item, int) {
      mark_hits(center, item * row_chunk, at_most((item + 1) * row_chunk, n));
    };
    if (!parallel_for(control, (n + row_chunk - 1) / row_chunk, mark)) return false;
    for (int64_t i = 0; i < n; ++i) {
      if (!s.hit[i]) continue;
      s.hit[i] = 0;
      s.uncovered[i] = 0;
      if (log) s.covered_log[logged++] = i;
    }
    return true;
  }

  // Marks the uncovered rows inside the ball of `center` in s.hit.
  void mark_hits(const Row<T>& center, int64_t begin, int64_t end) {
    int64_t at[4], size = 0;
    const auto settle = [&] {
      V sq[4];
      for (int64_t r = size; r < 4; ++r) at[r] = at[0];
      sqdist4(p.X, at, center, p.X.cols, sq);
      for (int64_t r = 0; r < size; ++r) s.hit[at[r]] = static_cast<double>(sq[r]) < p.sqradius;
      size = 0;
    };
    for (int64_t i = begin; i < end; ++i) {
      if (!s.uncovered[i]) continue;
      at[size++] = i;
      if (size == 4) settle();
    }
    if (size) settle();
  }

  Counter<T> counter(bool columns_only) const {
    const double radius = __builtin_sqrt(p.sqradius) * static_cast<double>(frame.scale);
    const double inside = radius * (1 - 0x1p-20), outside = radius * (1 + 0x1p-20);
    return {p, s, static_cast<float>(inside), static_cast<float>(outside), filter_slack(p.X.cols), columns_only};
  }

  // Uncovered rows into s.members; how many.
  int64_t list_uncovered() {
    int64_t size = 0;
    for (int64_t i = 0; i < n; ++i)
      if (s.uncovered[i]) s.members[size++] = i;
    return size;
  }

  // What calls before this one have left is enough where it bounds the gains of most candidates; else a join counts them all.
  bool first_bounds() {
    int64_t known = 0;
    for (int64_t c = 0; p.bounds && c < n_candidates; ++c) known += p.bounds[candidates.position(c)] >= 0;
    if (2 * known <= n_candidates) {
      if (!first_gains()) return false;
      take_gains();
      return true;
    }
    const int64_t most = list_uncovered();
    for (int64_t c = 0; c < n_candidates; ++c) {
      const int64_t i = candidates.position(c), bound = p.bounds[i];
      s.bound.values()[i] = static_cast<double>(bound >= 0 && bound < most ? bound : most);
      s.seen[i] = only_a_bound;
    }
    s.bound.build();
    return true;
  }

  // The join runs over candidates and uncovered rows together, unless the candidates are so few that all pairs with
  // them are less work than the triangle.
  bool first_gains() {
    int64_t n_members = 0, n_targets = 0;
    for (int64_t i = 0; i < n; ++i) {
      n_targets += s.uncovered[i];
      if (s.uncovered[i] || open(i)) s.members[n_members++] = i;
    }
    const RowList<T> members = {p.X, s.members};
    Counter<T> count = counter(false);
    if (2.0 * static_cast<double>(n_candidates) * static_cast<double>(n_targets) >=
        static_cast<double>(n_members) * static_cast<double>(n_members)) {
      const int64_t whole[2] = {0, n_members};
      return s.join.run_self(members, whole, frame, control, count, 0, 0.5);
    }
    return s.join.run(candidates, n_candidates, members, list_uncovered(), frame, control, count, 0, 0.5);
  }

  void take_gains() {
    for (int64_t c = 0; c < n_candidates; ++c) {
      const int64_t i = candidates.position(c);
      s.seen[i] = logged;
      if (open(i)) s.bound.values()[i] = static_cast<double>(s.gain[i] + s.uncovered[i]);
    }
    s.bound.build();
  }

  // Catching up row by row has cost more than a join that counts all gains again would.
  bool recount() {
    spent = 0;
    for (int64_t i = 0; i < n; ++i) s.gain[i] = 0;
    if (!first_gains()) return false;
    take_gains();
    return true;
  }

  bool open(int64_t i) const { return s.bound[i] >= 0; }  // a candidate that is not picked
  bool up_to_date(int64_t i) const { return s.seen[i] == logged || s.bound[i] == 0; }  // 0 cannot fall

  // Stale candidates of the largest bounds, of one kind.
  void take_wave() {
    counting = s.seen[s.bound.top()] == only_a_bound;
    const int64_t most = counting ? next_counted : wave_rows;
    for (wave_size = 0; wave_size < most; ++wave_size) {
      const int64_t i = s.bound.top();
      if (!open(i) || (s.seen[i] == only_a_bound) != counting) break;
      const int64_t gain = static_cast<int64_t>(s.bound[i]);
      if (up_to_date(i)) {
        reached = at_least(reached, gain);
        break;
      }
      wave[wave_size] = i;
      if (!counting) wave_gain[wave_size] = gain;
      s.bound.set(i, MaxTree<double>::none());
    }
  }

  void catch_up(int64_t w) {
    const Row<T> x = rows[wave[w]];
    int64_t gain = wave_gain[w], at = s.seen[wave[w]];
    while (at < logged && gain > 0) {
      const int64_t end = at_most(at + log_check, logged);
      for (; at < end; at += 4) {
        int64_t entries[4];
        V sq[4];
        for (int r = 0; r < 4; ++r) entries[r] = s.covered_log[at_most(at + r, end - 1)];
        sqdist4(p.X, entries, x, p.X.cols, sq);
        for (int64_t r = 0; r < at_most(4, end - at); ++r) gain -= static_cast<double>(sq[r]) < p.sqradius;
      }
      at = end;
      if (gain < __atomic_load_n(&reached, __ATOMIC_RELAXED)) break;
    }
    if (gain <= 0) at = logged;  // it cannot fall further
    s.seen[wave[w]] = at;
    wave_gain[w] = gain;
    if (at == logged && gain > __atomic_load_n(&reached, __ATOMIC_RELAXED))
      __atomic_store_n(&reached, gain, __ATOMIC_RELAXED);
  }

  // Waves grow while bounds are all there is: whatever its size, the uncovered rows are read once for each.
  bool count_wave(double done) {
    const int64_t n_targets = list_uncovered();
    const RowList<T> targets = {p.X, s.members}, counted = {p.X, wave};
    for (int64_t w = 0; w < wave_size; ++w) s.gain[wave[w]] = 0;
    spent += static_cast<double>(wave_size) * static_cast<double>(n_targets) / join_speed;
    next_counted = at_most(2 * next_counted, most_counted);
    Counter<T> count = counter(true);
    if (!s.join.run(targets, n_targets, counted, wave_size, frame, control, count, done, done)) return false;
    for (int64_t w = 0; w < wave_size; ++w) {
      s.seen[wave[w]] = logged;
      s.bound.set(wave[w], static_cast<double>(s.gain[wave[w]] + s.uncovered[wave[w]]));
    }
    return true;
  }

  bool update_wave() {
    if (spent > static_cast<double>(n) * static_cast<double>(n_candidates) / join_speed) return recount();
    take_wave();
    const double done = 0.5 + 0.5 * static_cast<double>(picked) / static_cast<double>(p.batch_size);
    if (counting) return count_wave(done);
    for (int64_t w = 0; w < wave_size; ++w) spent += static_cast<double>(logged - s.seen[wave[w]]);
    const auto update = [&](int64_t w, int) { catch_up(w); };
    if (!parallel_for(control, wave_size, update, done, done)) return false;
    for (int64_t w = 0; w < wave_size; ++w) s.bound.set(wave[w], static_cast<double>(wave_gain[w]));
    return true;
  }

  bool pick_top() {
    const int64_t best = s.bound.top(), gain = static_cast<int64_t>(s.bound[best]);
    p.positions[picked] = best;
    p.gains[picked] = gain;
    s.bound.set(best, MaxTree<double>::none());
    ++picked;
    reached = -1;
    return gain <= 0 || cover(rows[best], true);
  }

  // For the calls after this one. What a pick would add is covered now.
  void hand_on() const {
    for (int64_t i = 0; p.is_covered && i < n; ++i) p.is_covered[i] = !s.uncovered[i];
    for (int64_t c = 0; p.bounds && picked && c < n_candidates; ++c) {
      const int64_t i = candidates.position(c);
      p.bounds[i] = open(i) ? static_cast<int64_t>(s.bound[i]) : 0;
    }
  }
};

}  // namespace

template <Isa isa, class T>
int64_t ball_cover_scratch(const BallCoverParams<T>& p, int threads) {
  Arena arena(nullptr);
  Layout<T>(p, threads, arena);
  return arena.bytes();
}

template <Isa isa, class T>
bool ball_cover(const BallCoverParams<T>& p, void* scratch, const Control& control) {
  if (p.batch_size == 0 && !p.is_covered) return true;
  Arena arena(scratch);
  Layout<T> s(p, control.threads, arena);
  Greedy<T> greedy = {p, s, control};
  if (!greedy.start() || (p.batch_size > 0 && !greedy.first_bounds())) return false;
  while (greedy.picked < p.batch_size) {
    while (!greedy.up_to_date(s.bound.top()))
      if (!greedy.update_wave()) return false;
    if (!greedy.pick_top()) return false;
  }
  greedy.hand_on();
  return true;
}

PYAL_INSTANTIATE_KERNEL(ball_cover, BallCoverParams)

}  // namespace pyal::cpu
