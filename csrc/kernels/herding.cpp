// The log lists by how much picks have raised m, row by row. Of each candidate we know a value that was right at some entry of
// the log: its gain, or an upper bound from a join, which is cheap but loose by the error of the filter. Subtracting what later
// entries have cost the candidate, exactly, brings the value up to date. The candidate of the largest bound is brought up to date
// first; if its value is still only a bound then, its gain is added up from all rows. When this has cost as much as a join would
// (the first picks lower every gain), a join bounds all candidates again.
#include "herding.hpp"

#include "../cpu/instantiate.hpp"
#include "../cpu/join.hpp"
#include "../cpu/max_tree.hpp"
#include "../cpu/similarity.hpp"

namespace pyal::cpu {
namespace {

constexpr int64_t wave_rows = 64, row_chunk = 256;

// Roughly how many pairs a join bounds in the time that one exact kernel value takes. It only balances work.
#if defined(__AMX_BF16__)
constexpr double filter_speed = 48;
#else
constexpr double filter_speed = 12;
#endif

constexpr double join_margin = 1 + 1e-4;  // single precision sums of the join

// Gains are rounded before they are compared. Equal rows must tie, though their gains may have been added up along different
// histories and differ in the last bits. The rounding is far below the error of the kernel values themselves.
template <class V>
double comparable(double gain) {
  if constexpr (sizeof(V) == 4) return static_cast<double>(static_cast<float>(gain));
  uint64_t bits;
  std::memcpy(&bits, &gain, sizeof(bits));
  bits = (bits + (uint64_t(1) << 11)) & ~((uint64_t(1) << 12) - 1);
  std::memcpy(&gain, &bits, sizeof(bits));
  return gain;
}

template <class V>
struct Rise {  // of m at one row
  int64_t position;
  V before, after;
};

template <class T>
struct Layout {
  using V = compute_t<T>;
  V* origin;
  double* mean;
  V* m;
  float* weight;       // (n,) for the bounds, rounded up
  float* cut;          // (n,) squared distance, scaled, from which on a row is covered better already
  double* joined;      // (n,) gain from the last join
  double* value;       // (n,) gain or bound on it, as of log entry `seen`
  int64_t* seen;       // (n,)
  uint8_t* exact;      // (n,) value is the gain
  Rise<V>* log;        // ring of n
  V* similarity;       // (n,) kernel values of the pick
  MaxTree<double> bound; // (n,) on the gain, as rounded for comparison; -inf: no candidate, picked, or in the wave
  double* parts;       // (chunks, wave_rows) of a wave's gains
  float* column_parts; // (threads, 4 x columns of a block)
  Join<T> join;

  Layout(const HerdingParams<T>& p, int threads, Arena& arena)
      : origin(arena.take<V>(p.X.cols)),
        mean(arena.take<double>(p.X.cols)),
        m(arena.take<V>(p.X.rows)),
        weight(arena.take<float>(p.X.rows)),
        cut(arena.take<float>(p.X.rows)),
        joined(arena.take<double>(p.X.rows)),
        value(arena.take<double>(p.X.rows)),
        seen(arena.take<int64_t>(p.X.rows)),
        exact(arena.take<uint8_t>(p.X.rows)),
        log(arena.take<Rise<V>>(p.X.rows)),
        similarity(arena.take<V>(p.X.rows)),
        bound(p.X.rows, arena),
        parts(arena.take<double>((p.X.rows + row_chunk - 1) / row_chunk * wave_rows + wave_rows)),
        column_parts(arena.take<float>(threads * 4 * block_columns(p.X.cols))),
        join(p.X.cols, 1, threads, arena) {}

  static int64_t block_columns(int64_t d) { return round_up(b_block<Filter>(d), Filter::cols); }
};

inline void atomic_add(double* target, double value) {
  double old, sum;
  __atomic_load(target, &old, __ATOMIC_RELAXED);
  do sum = old + value;
  while (!__atomic_compare_exchange(target, &old, &sum, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
}

// Bounds from above what all gains owe to other rows, by a self-join. It sums in single precision; join_margin makes up for that.
template <class T>
struct Bounder {
  const HerdingParams<T>& p;
  Layout<T>& s;
  float factor;  // of the kernel, in scaled units
  float slack;

  float* parts(int worker) const { return s.column_parts + worker * 4 * Layout<T>::block_columns(p.X.cols); }

  void begin(const JoinBlock<T>& block, int worker) const {
    float *sums = parts(worker), *m = sums + block.stride, *weight = m + block.stride, *cut = weight + block.stride;
    for (int64_t j = 0; j < block.stride; ++j) {
      const bool real = j < block.b.count;
      const int64_t position = real ? block.cols.position(block.j0 + j) : 0;
      sums[j] = 0;
      m[j] = real ? static_cast<float>(s.m[position]) * (1 - 0x1p-22f) : 2.0f;
      weight[j] = real ? s.weight[position] : 0.0f;
      cut[j] = real ? s.cut[position] : 0.0f;
      block.work[j] = real ? block.b.sqnorm[j] : 0.0f;
    }
  }

  void end(const JoinBlock<T>& block, int worker) const {
    if (!block.both) return;
    for (int64_t j = 0; j < block.b.count; ++j)
      atomic_add(&s.joined[block.cols.position(block.j0 + j)], static_cast<double>(parts(worker)[j]));
  }

  void group(const JoinBlock<T>& block, int64_t g, int64_t count, const float* c, int worker) const {
    with_kernel(p.kind, [&]<HerdingKernel k>(OfKernel<k>) { group_of<k>(block, g, count, c, worker); });
  }

  template <HerdingKernel kernel>
  void group_of(const JoinBlock<T>& block, int64_t g, int64_t count, const float* c, int worker) const {
    float *sums = parts(worker), *m = sums + block.stride, *weight = m + block.stride, *cut = weight + block.stride;
    for (int64_t r = 0; r < count; ++r) {
      const int64_t i = block.rows.position(block.i0 + g + r);
      const float sq_i = block.a.sqnorm[g + r];
      // (D - lost)^2 >= (1 - t) D^2 - (1 / t - 1) lost^2 for every t in (0, 1); the best t is lost / D.
      const float typical = __builtin_sqrtf(2 * sq_i) + 1e-20f;
      const float t = block.lost < 0.5f * typical ? block.lost / typical : 0.5f;
      const float shift = block.lost * block.lost * (1 / t - 1) * (1 + 0x1p-20f), keep = 1 - t;
      const vec<float> m_i = splat(static_cast<float>(s.m[i]) * (1 - 0x1p-22f)), weight_i = splat(s.weight[i]);
      const vec<float> zero = {}, cut_i = splat(s.cut[i]);
      // The row's kernel value with itself is known exactly. Where the others are tiny, a bound on it would hide them all.
      const int64_t own = i - block.j0;
      const bool meets_itself = own >= 0 && own < block.b.count;
      const float own_weight = meets_itself ? weight[own] : 0;
      if (meets_itself) weight[own] = 0;
      vec<float> total = {};
      for (int64_t j = 0; j < block.stride; j += lanes<float>) {
        const vec<float> norms = load(block.work + j) + sq_i;
        const vec<float> low = multiply_add(load(c + r * block.stride + j), splat(-2.0f), norms * (1 - slack));
        const vec<float> sq = maximum(multiply_add(low, splat(keep), splat(-shift)), zero);
        // Once a few picks cover the pool, most pairs add nothing to either side.
        vec<int32_t> near = sq < load(cut + j);
        if (block.both) near |= sq < cut_i;
        if (!lane_mask(near)) continue;
        const vec<float> value = bounding_value<kernel>(sq, factor);
        total = multiply_add(maximum(value - load(m + j), zero), load(weight + j), total);
        if (block.both) store(sums + j, multiply_add(maximum(value - m_i, zero), weight_i, load(sums + j)));
      }
      if (meets_itself) weight[own] = own_weight;
      atomic_add(&s.joined[i], static_cast<double>(sum_lanes<float>(total)));
    }
  }
};

// The state of the greedy loop: bounds, gains and the log (in the layout), the wave at hand, and the picks so far.
template <class T>
struct Greedy {
  using V = compute_t<T>;
  const HerdingParams<T>& p;
  Layout<T>& s;
  const Control& control;
  int64_t n = p.X.rows, n_candidates = p.candidates.data ? p.candidates.size : n;
  RowList<T> rows = {p.X, nullptr}, candidates = {p.X, p.candidates.data};
  bool few = 2 * n_candidates < n;  // then joining candidates with all rows is less work than the triangle
  double join_cost = (few ? static_cast<double>(n_candidates) : static_cast<double>(n) / 2) * static_cast<double>(n) /
                     filter_speed;
  V factor = kernel_factor<V>(p.kind, p.bandwidth);
  Frame<T> frame = make_frame(rows, n, s.origin, s.mean);
  double scale = static_cast<double>(frame.scale);
  Bounder<T> bounder = {p, s, bounding_factor(p.kind, p.bandwidth, scale * scale), filter_slack(p.X.cols)};
  int64_t logged = 0, picked = 0;
  double spent = 0;     // exact kernel values since the last join
  double reached = -1;  // largest gain known, as rounded for comparison
  struct Waiting {
    double bound;
    int64_t position;
  };
  Waiting wave[wave_rows] = {};
  int64_t wave_size = 0;
  bool from_rows = false;        // the wave's gains are added up from all rows, not corrected by the log
  int64_t first = 0, total = 0;  // the rows, or the log entries, that the wave goes through

  double weight(int64_t i) const { return p.weights ? p.weights[i] : 1.0; }
  double done() const { return 0.4 + 0.6 * static_cast<double>(picked) / static_cast<double>(p.batch_size); }

  bool start() {
    for (int64_t i = 0; i < n; ++i) {
      s.m[i] = p.best ? p.best[i] : V(0);
      s.weight[i] = p.weights ? static_cast<float>(p.weights[i] * (1 + 0x1p-20)) : 1.0f;
      s.seen[i] = 0;
      s.exact[i] = 0;
    }
    for (int64_t c = 0; c < p.covered.size; ++c)
      if (!cover(p.covered.data[c], nullptr)) return false;
    return true;
  }

  // k(x_b, center_c) for up to four centres at a time into values[c * row_chunk + b], b in [0, count) <= row_chunk.
  template <class RowOf>
  void kernel_rows(const int64_t* centers, int64_t n_centers, int64_t count, RowOf&& row_of, V* values) const {
    int64_t four[4];
    for (int64_t r = 0; r < 4; ++r) four[r] = centers[at_most(r, n_centers - 1)];
    for (int64_t b = 0; b < count; ++b) {
      V sq[4];
      if (b + 1 < count) prefetch_row(row_of(b + 1), p.X.cols);
      sqdist4(p.X, four, row_of(b), p.X.cols, sq);
      for (int64_t r = 0; r < n_centers; ++r) values[r * row_chunk + b] = sq[r];
    }
    for (int64_t r = 0; r < n_centers; ++r) {
      for (int64_t b = count; b % lanes<V>; ++b) values[r * row_chunk + b] = 0;
      kernel_values(p.kind, values + r * row_chunk, count, factor);
    }
  }

  // Raises m by the kernel values of row `center`, and tells what that gained where it is a pick.
  bool cover(int64_t center, double* gain) {
    const auto similarity = [&](int64_t item, int) {
      V buffer[row_chunk];
      const int64_t begin = item * row_chunk, count = at_most(row_chunk, n - begin);
      kernel_rows(&center, 1, count, [&](int64_t b) { return rows[begin + b]; }, buffer);
      std::memcpy(s.similarity + begin, buffer, static_cast<size_t>(count) * sizeof(V));
      if (gain) s.parts[item] = gain_over_rows(buffer, begin, count);
    };
    const int64_t chunks = (n + row_chunk - 1) / row_chunk;
    if (!parallel_for(control, chunks, similarity)) return false;
    for (int64_t item = 0; gain && item < chunks; ++item) *gain += s.parts[item];
    for (int64_t i = 0; i < n; ++i)
      if (s.similarity[i] > s.m[i]) {
        if (gain) s.log[logged++ % n] = {i, s.m[i], s.similarity[i]};
        s.m[i] = s.similarity[i];
      }
    return true;
  }

  // Writes upper bounds on all gains into s.joined, without join_margin and without what candidates gain at themselves.
  bool join(double before, double after) {
    for (int64_t i = 0; i < n; ++i) {
      s.joined[i] = 0;
      const double cut = sqreach(p.kind, factor, static_cast<double>(s.m[i])) * scale * scale;
      s.cut[i] = cut > 1e-37 ? static_cast<float>(cut) : 1e-37f;
    }
    const int64_t whole[2] = {0, n};
    return few ? s.join.run(candidates, n_candidates, rows, n, frame, control, bounder, before, after)
               : s.join.run_self(rows, whole, frame, control, bounder, before, after);
  }

  // Rounded like the gains that it is compared with.
  double bound_of(int64_t i) const {
    return comparable<V>(s.joined[i] * join_margin + weight(i) * (1 - static_cast<double>(s.m[i])));
  }

  // Bounds that earlier calls have left are enough where they cover most candidates; else a join bounds all gains.
  bool first_bounds() {
    int64_t known = 0;
    for (int64_t c = 0; p.bounds && c < n_candidates; ++c) known += p.bounds[candidates.position(c)] >= 0;
    const bool carried = 2 * known > n_candidates;
    if (!carried && !join(0, 0.4)) return false;
    double most = 0;
    for (int64_t i = 0; carried && i < n; ++i) most += weight(i) * (1 - static_cast<double>(s.m[i]));
    most = comparable<V>(most * join_margin);
    for (int64_t i = 0; i < n; ++i) s.bound.values()[i] = MaxTree<double>::none();
    for (int64_t c = 0; c < n_candidates; ++c) {
      const int64_t i = candidates.position(c);
      const double bound = !carried ? bound_of(i) : p.bounds[i] >= 0 ? p.bounds[i] : most;
      s.bound.values()[i] = s.value[i] = bound;
    }
    s.bound.build();
    return true;
  }

  bool rebound() {
    spent = 0;
    if (!join(done(), done())) return false;
    for (int64_t c = 0; c < n_candidates; ++c) {
      const int64_t i = candidates.position(c);
      if (!open(i)) continue;
      const double bound = bound_of(i);
      if (bound < s.bound[i]) s.bound.values()[i] = bound;
      if (s.exact[i] && logged - s.seen[i] < n) continue;
      if (bound < s.value[i]) s.value[i] = bound;
      s.seen[i] = logged;
      s.exact[i] = 0;
    }
    s.bound.build();
    return true;
  }

  bool open(int64_t i) const { return s.bound[i] >= 0; }  // a candidate that is not picked
  bool settled(int64_t i) const { return (s.seen[i] == logged && s.exact[i]) || s.bound[i] == 0; }  // 0 cannot fall

  void take_wave() {
    for (wave_size = 0; wave_size < wave_rows; ++wave_size) {
      const int64_t i = s.bound.top();
      if (!open(i) || settled(i) || s.bound[i] < reached) break;
      wave[wave_size] = {s.bound[i], i};
      s.bound.set(i, MaxTree<double>::none());
    }
    keep_one_kind();
    order_by_age();
  }

  // All candidates of a wave are updated in the way that suits its first one. From the first that needs the other way on,
  // candidates go back.
  void keep_one_kind() {
    int64_t oldest = logged;
    for (int64_t w = 0; w < wave_size; ++w) {
      const int64_t seen = s.seen[wave[w].position];
      const bool needs_rows = seen == logged || logged - seen >= n;
      if (w == 0) from_rows = needs_rows;
      if (needs_rows != from_rows) {
        for (int64_t rest = w; rest < wave_size; ++rest) s.bound.set(wave[rest].position, wave[rest].bound);
        wave_size = w;
        break;
      }
      if (!from_rows && seen < oldest) oldest = seen;
      spent += static_cast<double>(from_rows ? n : logged - seen);
    }
    first = from_rows ? 0 : oldest;
    total = from_rows ? n : logged - oldest;
  }

  // Candidates of similar age stand side by side, as four at a time share the chunks that they have missed.
  void order_by_age() {
    for (int64_t w = 1; w < wave_size; ++w) {
      const Waiting entry = wave[w];
      int64_t at = w;
      for (; at > 0 && s.seen[wave[at - 1].position] > s.seen[entry.position]; --at) wave[at] = wave[at - 1];
      wave[at] = entry;
    }
  }

  const Rise<V>& logged_rise(int64_t begin, int64_t b) const {
    const int64_t at = begin % n + b;  // the same begin for many b: the division is done once
    return s.log[at < n ? at : at - n];
  }

  // What the rows [begin, begin + count) add to a gain.
  double gain_over_rows(const V* value, int64_t begin, int64_t count) const {
    double part = 0;
    for (int64_t b = 0; b < count; ++b) {
      const double rise = static_cast<double>(value[b]) - static_cast<double>(s.m[begin + b]);
      part += rise > 0 ? weight(begin + b) * rise : 0;
    }
    return part;
  }

  // What the log entries [begin, begin + count) from `seen` on have changed in a gain.
  double change_over_log(const V* value, int64_t begin, int64_t count, int64_t seen) const {
    double part = 0;
    for (int64_t b = seen > begin ? seen - begin : 0; b < count; ++b) {
      const Rise<V>& rise = logged_rise(begin, b);
      if (value[b] <= rise.before) continue;
      const V top = value[b] < rise.after ? value[b] : rise.after;
      part -= weight(rise.position) * (static_cast<double>(top) - static_cast<double>(rise.before));
    }
    return part;
  }

  // Compares all candidates of the wave with one chunk of rows, or of the log, while the chunk is in cache.
  void update_chunk(int64_t item) {
    V buffer[4 * row_chunk];
    const int64_t begin = first + item * row_chunk, count = at_most(row_chunk, total - item * row_chunk);
    for (int64_t w0 = 0; w0 < wave_size; w0 += 4) {
      int64_t centers[4];
      const int64_t n_centers = at_most(4, wave_size - w0);
      double* parts = s.parts + item * wave_rows + w0;
      int64_t seen_least = logged;
      for (int64_t r = 0; r < n_centers; ++r) {
        centers[r] = wave[w0 + r].position;
        seen_least = at_most(seen_least, s.seen[wave[w0 + r].position]);
        parts[r] = 0;
      }
      if (!from_rows && seen_least >= begin + count) continue;
      if (from_rows)
        kernel_rows(centers, n_centers, count, [&](int64_t b) { return rows[begin + b]; }, buffer);
      else
        kernel_rows(centers, n_centers, count, [&](int64_t b) { return rows[logged_rise(begin, b).position]; }, buffer);
      for (int64_t r = 0; r < n_centers; ++r)
        parts[r] = from_rows ? gain_over_rows(buffer + r * row_chunk, begin, count)
                        : change_over_log(buffer + r * row_chunk, begin, count, s.seen[wave[w0 + r].position]);
    }
  }

  bool update_wave() {
    take_wave();
    const int64_t chunks = (total + row_chunk - 1) / row_chunk;
    if (!parallel_for(control, chunks, [&](int64_t item, int) { update_chunk(item); }, done(), done())) return false;
    for (int64_t w = 0; w < wave_size; ++w) put_back(wave[w], w, chunks);
    return true;
  }

  // Parts are added in the order of the chunks, so that the number of threads does not show.
  void put_back(Waiting entry, int64_t w, int64_t chunks) {
    const int64_t j = entry.position;
    double value = from_rows ? 0 : s.value[j];
    for (int64_t item = 0; item < chunks; ++item) value += s.parts[item * wave_rows + w];
    s.value[j] = value > 0 ? value : 0;  // the running difference is rounded
    s.seen[j] = logged;
    if (from_rows) s.exact[j] = 1;
    if (s.exact[j])
      entry.bound = comparable<V>(s.value[j]);
    else if (s.value[j] * (1 + 0x1p-20) < entry.bound)
      entry.bound = s.value[j] * (1 + 0x1p-20);
    if (s.exact[j] && entry.bound > reached) reached = entry.bound;
    s.bound.set(j, entry.bound);
  }

  // Gains that have come down to 0 by differences may be off by a rounding, and would decide in place of the position.
  void level() {
    for (int64_t i = 0; i < n; ++i)
      if (s.m[i] < 1 && weight(i) > 0) return;
    for (int64_t c = 0; c < n_candidates; ++c)
      if (open(candidates.position(c))) s.bound.values()[candidates.position(c)] = 0;
    s.bound.build();
  }

  bool pick_top() {
    const int64_t best = s.bound.top();
    p.positions[picked] = best;
    const bool gains = s.bound[best] > 0;
    s.bound.set(best, MaxTree<double>::none());
    reached = -1;
    double gain = 0;
    if (!cover(best, &gain)) return false;
    p.gains[picked++] = gains ? gain / static_cast<double>(n) : 0;
    return true;
  }

  // Leaves m and the bounds to later calls; picks gain nothing any more.
  void hand_on() const {
    if (p.best) std::memcpy(p.best, s.m, static_cast<size_t>(n) * sizeof(V));
    for (int64_t c = 0; p.bounds && picked && c < n_candidates; ++c) {
      const int64_t i = candidates.position(c);
      p.bounds[i] = open(i) ? s.bound[i] : 0;
    }
  }
};

}  // namespace

template <Isa isa, class T>
int64_t herding_scratch(const HerdingParams<T>& p, int threads) {
  Arena arena(nullptr);
  Layout<T>(p, threads, arena);
  return arena.bytes();
}

template <Isa isa, class T>
bool herding(const HerdingParams<T>& p, void* scratch, const Control& control) {
  if (p.batch_size == 0 && !p.best) return true;
  Arena arena(scratch);
  Layout<T> s(p, control.threads, arena);
  Greedy<T> greedy = {p, s, control};
  if (!greedy.start() || (p.batch_size > 0 && !greedy.first_bounds())) return false;
  while (greedy.picked < p.batch_size) {
    if (s.bound[s.bound.top()] > 0) greedy.level();
    while (!greedy.settled(s.bound.top())) {
      const bool join_pays = greedy.spent > greedy.join_cost;
      if (!(join_pays ? greedy.rebound() : greedy.update_wave())) return false;
    }
    if (!greedy.pick_top()) return false;
  }
  greedy.hand_on();
  return true;
}

PYAL_INSTANTIATE_KERNEL(herding, HerdingParams)

}  // namespace pyal::cpu
