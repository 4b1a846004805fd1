// A row keeps a list of candidates with bounds on their squared distance. Its reach is the k-th smallest upper bound seen so
// far, and a column enters only if its lower bound is within reach. A full list is first compacted by the reach; where too
// many remain (near-ties, or rows so far from the origin that the bounds are loose) the distances themselves are computed
// and only the k best stay, so a list never overflows and every answer is exact. A self-join visits the upper triangle of
// blocks and serves the rows of both sides.
#include "knn.hpp"

#include "../cpu/instantiate.hpp"
#include "../cpu/join.hpp"

namespace pyal::cpu {
namespace {

struct Candidates {  // of one row, each (capacity,)
  float* lower;      // bounds on the squared distance, scaled
  float* upper;
  int32_t* position;
};

struct State {     // of one row; distances scaled
  float reach;     // Euclidean, not squared; +inf until k candidates are known
  int32_t count;
  int32_t settled; // with reach == 0: no position above this one can still enter; -1: not known
  uint8_t lock;
};

template <class T>
struct Neighbours {
  const KnnParams<T>& p;
  Frame<T> frame;
  State* states;
  float* lists;  // (m, 3, capacity)
  int64_t capacity;
  compute_t<T>* exact;  // (threads, capacity)
  float slack;

  Row<T> query(int64_t i) const { return row(p.queries.data ? p.queries : p.X, i); }
  Candidates list(int64_t i) const {
    float* lower = lists + i * 3 * capacity;
    return {lower, lower + capacity, reinterpret_cast<int32_t*>(lower + 2 * capacity)};
  }

  // Sorts candidates by (distance, position): heap sort, in place.
  static void sort(compute_t<T>* value, int32_t* position, int64_t count) {
    const auto after = [&](int64_t a, int64_t b) {
      return value[a] > value[b] || (value[a] == value[b] && position[a] > position[b]);
    };
    const auto swap = [&](int64_t a, int64_t b) {
      const compute_t<T> v = value[a];
      const int32_t p = position[a];
      value[a] = value[b];
      position[a] = position[b];
      value[b] = v;
      position[b] = p;
    };
    const auto sink = [&](int64_t at, int64_t size) {
      for (int64_t child; (child = 2 * at + 1) < size; at = child) {
        if (child + 1 < size && after(child + 1, child)) ++child;
        if (!after(child, at)) return;
        swap(child, at);
      }
    };
    for (int64_t i = count / 2 - 1; i >= 0; --i) sink(i, count);
    for (int64_t size = count - 1; size > 0; --size) {
      swap(0, size);
      sink(0, size);
    }
  }

  // Distances of all candidates of row i; the k nearest stay, sorted. How many.
  int64_t settle(int64_t i, compute_t<T>* value) {
    State& state = states[i];
    int32_t* position = list(i).position;
    const Row<T> x = query(i);
    for (int64_t s = 0; s < state.count; s += 4) {
      int64_t four[4];
      compute_t<T> sq[4];
      for (int r = 0; r < 4; ++r) four[r] = position[at_most(s + r, state.count - 1)];
      sqdist4(p.X, four, x, p.X.cols, sq);
      for (int64_t r = 0; r < at_most(4, state.count - s); ++r) value[s + r] = sq[r];
    }
    sort(value, position, state.count);
    state.count = static_cast<int32_t>(at_most(state.count, p.k));
    return state.count;
  }

  // Drops the candidates whose lower bound is above (almost) the k-th smallest upper bound; returns that one.
  float drop(int64_t i) {
    constexpr int width = lanes<float>;
    State& state = states[i];
    const Candidates c = list(i);
    const int64_t padded = round_up(state.count, width);
    for (int64_t s = state.count; s < padded; ++s) c.upper[s] = __builtin_inff();
    float low = c.upper[0], high = c.upper[0];
    for (int32_t s = 1; s < state.count; ++s) {
      low = c.upper[s] < low ? c.upper[s] : low;
      high = c.upper[s] > high ? c.upper[s] : high;
    }
    for (int step = 0; step < 10 && low < high; ++step) {  // to a thousandth of their spread
      const float middle = low + (high - low) * 0.5f;
      vec<int32_t> within = {};
      for (int64_t s = 0; s < padded; s += width) within += load(c.upper + s) <= splat(middle);
      int64_t count = 0;
      for (int l = 0; l < width; ++l) count -= within[l];
      (count >= p.k ? high : low) = middle;
    }
    int32_t kept = 0;
    for (int32_t s = 0; s < state.count; ++s) {
      const float lower = c.lower[s], upper = c.upper[s];
      c.lower[kept] = lower;
      c.upper[kept] = upper;
      c.position[kept] = c.position[s];
      kept += lower <= high;
    }
    state.count = kept;
    return high;
  }

  [[gnu::noinline]] void compact(int64_t i, int worker) {
    State& state = states[i];
    float reach = drop(i);
    if (state.count > (p.k + 2 * capacity) / 3) {
      const Candidates c = list(i);
      compute_t<T>* value = exact + worker * capacity;
      settle(i, value);
      const double scale2 = static_cast<double>(frame.scale) * static_cast<double>(frame.scale);
      for (int32_t s = 0; s < state.count; ++s) {
        const double scaled = static_cast<double>(value[s]) * scale2;
        c.lower[s] = static_cast<float>(scaled * (1 - 0x1p-22));
        c.upper[s] = static_cast<float>(scaled * (1 + 0x1p-22));
      }
      reach = c.upper[p.k - 1];
      // k rows at distance 0 (equal rows): only a lower position could still enter.
      if (value[p.k - 1] == 0) {
        reach = 0;
        int32_t last = 0;
        for (int32_t s = 0; s < state.count; ++s) {
          c.lower[s] = c.upper[s] = 0;
          if (c.position[s] > last) last = c.position[s];
        }
        __atomic_store_n(&state.settled, last, __ATOMIC_RELAXED);
      }
    }
    float rounded_up = __builtin_sqrtf(reach) * (1 + 0x1p-22f);
    __atomic_store(&state.reach, &rounded_up, __ATOMIC_RELAXED);
  }

  [[gnu::noinline]] void offer(int64_t i, int64_t position, Bounds bounds, int worker) {
    State& state = states[i];
    while (__atomic_test_and_set(&state.lock, __ATOMIC_ACQUIRE)) {
    }
    const bool out = bounds.lower > state.reach * state.reach * (1 + 0x1p-21f) ||
                     (state.settled >= 0 && state.reach == 0 && position > state.settled);
    if (!out) {
      const Candidates c = list(i);
      c.lower[state.count] = bounds.lower;
      c.upper[state.count] = bounds.upper;
      c.position[state.count] = static_cast<int32_t>(position);
      if (++state.count == capacity) compact(i, worker);
    }
    __atomic_clear(&state.lock, __ATOMIC_RELEASE);
  }

  // The largest lower-bound value worth looking at for row i among columns from `first` on.
  float threshold(int64_t i, float lost, int64_t first) const {
    float reach;
    __atomic_load(&states[i].reach, &reach, __ATOMIC_RELAXED);
    const int32_t settled = __atomic_load_n(&states[i].settled, __ATOMIC_RELAXED);
    if (reach == 0 && settled >= 0 && first > settled) return -__builtin_inff();
    return reach_bound(reach, lost);
  }

  void begin(const JoinBlock<T>& block, int) const {
    float* low_j = block.work;
    for (int64_t j = 0; j < block.stride; ++j)
      low_j[j] = j < block.b.count ? block.b.sqnorm[j] * (1 - slack) : __builtin_inff();
  }
  void end(const JoinBlock<T>&, int) const {}

  void group(const JoinBlock<T>& block, int64_t g, int64_t count, const float* c, int worker) {
    constexpr int width = lanes<float>;
    const float* low_j = block.work;             // (1 - slack) |b_j|^2
    float* limit_j = block.work + block.stride;  // threshold of column j less its low_j
    const int64_t columns = block.b.count, first_row = block.rows.position(block.i0), first = block.cols.position(block.j0);
    if (block.both)
      for (int64_t j = 0; j < block.stride; ++j)
        limit_j[j] = j < columns ? threshold(block.cols.position(block.j0 + j), block.lost, first_row) - low_j[j]
                                 : -__builtin_inff();
    for (int64_t r = 0; r < count; ++r) {
      const int64_t i = block.rows.position(block.i0 + g + r);
      const float low_i = block.a.sqnorm[g + r] * (1 - slack);
      const float* products = c + r * block.stride;
      vec<float> limit_i = splat(threshold(i, block.lost, first) - low_i);
      for (int64_t j = 0; j < columns; j += width) {
        const vec<float> product = load(products + j), minus_two = splat(-2.0f);
        vec<int32_t> hit = multiply_add(product, minus_two, load(low_j + j)) <= limit_i;
        if (block.both) hit |= multiply_add(product, minus_two, splat(low_i)) <= load(limit_j + j);
        uint32_t mask = lane_mask(hit);
        if (columns - j < width) mask &= (1u << (columns - j)) - 1;
        if (!mask) continue;
        for (; mask; mask &= mask - 1) {
          const int64_t column = j + lowest_bit(mask), position = block.cols.position(block.j0 + column);
          if ((!p.queries.data && position == i) || (p.labels && p.labels[i] == p.labels[position])) continue;
          const Bounds bounds = distance_bounds(block.a.sqnorm[g + r], block.b.sqnorm[column], products[column],
                                                block.a.lost[g + r] + block.b.lost[column], slack);
          if (low_j[column] - 2 * products[column] <= limit_i[0]) offer(i, position, bounds, worker);
          if (block.both && low_i - 2 * products[column] <= limit_j[column]) offer(position, i, bounds, worker);
        }
        limit_i = splat(threshold(i, block.lost, first) - low_i);
      }
    }
  }
};

template <class T>
struct Layout {
  int64_t capacity;
  compute_t<T>* origin;
  double* mean;
  State* states;
  float* lists;
  compute_t<T>* exact;
  Join<T> join;

  Layout(const KnnParams<T>& p, int threads, Arena& arena)
      : capacity(round_up(at_most(3 * p.k + 36, p.X.rows + 1), 16)),
        origin(arena.take<compute_t<T>>(p.X.cols)),
        mean(arena.take<double>(p.X.cols)),
        states(arena.take<State>(p.queries.rows)),
        lists(arena.take<float>(p.queries.rows * 3 * capacity)),
        exact(arena.take<compute_t<T>>(threads * capacity)),
        join(p.X.cols, p.order ? p.n_groups : 1, threads, arena) {}
};

}  // namespace

template <Isa isa, class T>
int64_t knn_scratch(const KnnParams<T>& p, int threads) {
  Arena arena(nullptr);
  Layout<T>(p, threads, arena);
  return arena.bytes();
}

template <Isa isa, class T>
bool knn(const KnnParams<T>& p, void* scratch, const Control& control) {
  Arena arena(scratch);
  Layout<T> s(p, control.threads, arena);
  const RowList<T> members = {p.X, p.order};
  const int64_t whole[2] = {0, p.X.rows};
  const int64_t* start = p.order ? p.group_start : whole;
  const RowList<T> queries = {p.queries, nullptr};
  const Frame<T> frame = including(make_frame(members, p.order ? start[p.n_groups] : p.X.rows, s.origin, s.mean), queries,
                                   p.queries.data ? p.queries.rows : 0);
  Neighbours<T> neighbours = {p, frame, s.states, s.lists, s.capacity, s.exact, filter_slack(p.X.cols)};
  for (int64_t i = 0; i < p.queries.rows; ++i) s.states[i] = {__builtin_inff(), 0, -1, 0};
  const bool completed =
      p.queries.data ? s.join.run(queries, p.queries.rows, members, p.X.rows, frame, control, neighbours, 0, 0.95)
                     : s.join.run_self(members, start, frame, control, neighbours, 0, 0.95);
  if (!completed) return false;

  constexpr int64_t chunk = 256;
  const auto finish = [&](int64_t index, int worker) {
    for (int64_t i = index * chunk; i < at_most((index + 1) * chunk, p.queries.rows); ++i) {
      compute_t<T>* value = s.exact + worker * s.capacity;
      if (s.states[i].count > p.k) neighbours.drop(i);
      const int64_t kept = neighbours.settle(i, value);
      for (int64_t r = 0; r < p.k; ++r) {
        p.sqdist[i * p.k + r] = r < kept ? value[r] : static_cast<compute_t<T>>(__builtin_inf());
        p.positions[i * p.k + r] = r < kept ? neighbours.list(i).position[r] : -1;
      }
    }
  };
  return parallel_for(control, (p.queries.rows + chunk - 1) / chunk, finish, 0.95, 1);
}

PYAL_INSTANTIATE_KERNEL(knn, KnnParams)

}  // namespace pyal::cpu
