// State holds what is carried from pick to pick, in double; Columns and RowState what one scoring pass needs of it, in
// compute_t<T>. A pass takes blocks of rows, each against blocks of columns (candidates) that stay in cache; its sums are
// kept per block of rows and added up in their order, so that the number of threads does not show.
#include "ntk_lookahead.hpp"

#include "../cpu/instantiate.hpp"
#include "../cpu/rows.hpp"

namespace pyal::cpu {
namespace {

constexpr int64_t block_columns = 1024, panel = 64, most_blocks = 64;
using Objective = LookaheadObjective;

inline int64_t up_to(int64_t value, int64_t step) { return (value + step - 1) / step * step; }
inline int64_t least_of(int64_t a, int64_t b) { return a < b ? a : b; }
inline double root(double x) { return __builtin_sqrt(x); }

// How far R may be from positive semidefinite, as a share of its diagonal: what rounding its values may have done.
template <class T>
double semidefinite_within(const Matrix<T>& R) {
  return R.storage != Storage::own ? 0x1p-4 : sizeof(compute_t<T>) == 4 ? 0x1p-12 : 0x1p-40;
}

// What a pass needs of row x as one that is predicted.
template <class V>
struct RowState {
  int32_t predicted, target, second;      // class; second: the best other class than predicted
  V f_predicted, f_target, f_second, f_third;
  V f_next;                               // of the best class other than predicted and target
  V margin;                               // below it no class but the label and the second can overtake the predicted one
  V rounding;                             // of a prediction and its change
};

// What a pass needs of row j as one that is learned; stride entries each.
template <class V>
struct Columns {
  V* inverse;                 // 1 / (R_jj + ridge), 0: changes nothing
  V *own, *others_most, *others_least;  // of D_j at the label, and over the other classes
  V* label;                   // as a number
  int32_t* label_index;
  V* gain;                    // (classes, stride) D transposed
};

template <class T>
struct State {
  using V = compute_t<T>;
  const NtkLookaheadParams<T>& p;
  int64_t n, stride, classes, class_stride, most_learned, block_rows, blocks;
  int64_t learned = 0, written = 0, exact = 0;  // picks in u; in `working`; in it since it was last made
  double* u;           // (stride / panel, most_learned, panel)
  double* own_u;       // (most_learned,) of the row being learned
  V* recent;           // (pending, stride) the picks that `working` lacks, by number modulo pending
  V* working;          // (n, stride), or nullptr
  double* f;           // (n, classes)
  V* values;           // (n, class_stride) f, zeros behind
  double* diagonal;    // (stride,)
  RowState<V>* row;    // (n,)
  Columns<V> column;
  double* parts;       // (blocks, stride)
  double *primary, *secondary;  // (stride,) least is best
  int64_t* tied;       // (n,)
  uint8_t* open;       // (n,) a candidate, not yet picked
  V* sums;             // (threads, block_columns)
  V* widened;          // (threads, block_columns) of a row of R, where its values are narrow
  V* classes_buffer;   // (threads, class_stride * (lanes + 1))
  double* packed;      // (threads, 4 * most_learned)

  State(const NtkLookaheadParams<T>& params, int threads, Arena& arena)
      : p(params),
        n(params.R.rows),
        stride(up_to(n, panel)),
        classes(params.classes),
        class_stride(up_to(classes, lanes<V>)),
        most_learned(params.labeled.size + params.batch_size),
        block_rows((n + most_blocks - 1) / most_blocks),
        blocks((n + block_rows - 1) / block_rows),
        u(arena.take<double>(stride * most_learned)),
        own_u(arena.take<double>(most_learned)),
        recent(arena.take<V>(lookahead_pending * stride)),
        working(most_learned > lookahead_pending ? arena.take<V>(n * stride) : nullptr),
        f(arena.take<double>(n * classes)),
        values(arena.take<V>(n * class_stride)),
        diagonal(arena.take<double>(stride)),
        row(arena.take<RowState<V>>(n)),
        column{arena.take<V>(stride), arena.take<V>(stride), arena.take<V>(stride), arena.take<V>(stride),
               arena.take<V>(stride), arena.take<int32_t>(stride), arena.take<V>(classes * stride)},
        parts(arena.take<double>(blocks * stride)),
        primary(arena.take<double>(stride)),
        secondary(arena.take<double>(stride)),
        tied(arena.take<int64_t>(n)),
        open(arena.take<uint8_t>(n)),
        sums(arena.take<V>(threads * block_columns)),
        widened(arena.take<V>(threads * block_columns)),
        classes_buffer(arena.take<V>(threads * class_stride * (lanes<V> + 1))),
        packed(arena.take<double>(threads * 4 * most_learned)) {}

  double given(int64_t i, int64_t j) const { return static_cast<double>(::pyal::row(p.R, i)[j]); }
  double* panel_of(int64_t j, int64_t pick) const { return u + (j / panel * most_learned + pick) * panel; }
  bool determined(int64_t j) const {
    return !(diagonal[j] + p.ridge > lookahead_determined<V> * (given(j, j) + p.ridge));
  }

  int64_t predicted(int64_t x) const {
    int64_t best = 0;
    for (int64_t c = 1; c < classes; ++c)
      if (f[x * classes + c] > f[x * classes + best]) best = c;
    return best;
  }
  int64_t label(int64_t j) const { return p.labels[j] >= 0 ? p.labels[j] : predicted(j); }

  // The picks that the working copy (or R itself, as long as there is none) lacks.
  int64_t pending() const { return learned - written; }
  const V* recent_pick(int64_t pick) const { return recent + pick % lookahead_pending * stride; }
};

// ---- learning a row ----

// u over one panel: (R_j: - sum_i u_i[j] u_i) / root, and what follows from it for the diagonal and f.
template <class T>
void learn_panel(State<T>& s, int64_t j, int64_t first, double pivot_root, const double* change) {
  constexpr int group = 8, step = group * lanes<double>;
  double* to = s.panel_of(first, s.learned);
  for (int64_t c = 0; c < panel; ++c) to[c] = first + c < s.n ? s.given(j, first + c) : 0;
  for (int64_t c0 = 0; c0 < panel; c0 += step) {
    const int vectors = static_cast<int>(least_of(step, panel - c0)) / lanes<double>;
    vec<double> sum[group] = {};
    for (int64_t i = 0; i < s.learned; ++i) {
      const vec<double> own = splat(s.own_u[i]);
      const double* from = s.panel_of(first, i) + c0;
#pragma GCC unroll 8
      for (int v = 0; v < group; ++v)
        if (v < vectors) sum[v] = multiply_add(own, load(from + v * lanes<double>), sum[v]);
    }
    for (int v = 0; v < vectors; ++v) {
      double* at = to + c0 + v * lanes<double>;
      store(at, (load(at) - sum[v]) / splat(pivot_root));
    }
  }
  auto* recent = const_cast<compute_t<T>*>(s.recent_pick(s.learned));
  for (int64_t c = 0; c < panel; ++c) {
    recent[first + c] = static_cast<compute_t<T>>(to[c]);
    s.diagonal[first + c] = multiply_add(-to[c], to[c], s.diagonal[first + c]);
    if (first + c < s.n)
      for (int64_t k = 0; k < s.classes; ++k) {
        double& f = s.f[(first + c) * s.classes + k];
        f = multiply_add(to[c], change[k], f);
      }
  }
}

// Learns row j with its label. False: stopped. A determined row changes nothing, which u = 0 says.
template <class T>
bool learn(State<T>& s, int64_t j, double* change, const Control& control) {
  const double pivot = s.determined(j) ? __builtin_inf() : s.diagonal[j] + s.p.ridge;
  const int64_t label = s.label(j);
  for (int64_t k = 0; k < s.classes; ++k)
    change[k] = ((k == label ? 1.0 : 0.0) - s.f[j * s.classes + k]) / root(pivot);
  for (int64_t i = 0; i < s.learned; ++i) s.own_u[i] = s.panel_of(j, i)[j % panel];
  constexpr int64_t panels = 4;  // of a work item
  const auto body = [&](int64_t item, int) {
    for (int64_t first = item * panels * panel; first < least_of((item + 1) * panels * panel, s.stride); first += panel)
      learn_panel(s, j, first, root(pivot), change);
  };
  if (!parallel_for(control, (s.stride + panels * panel - 1) / (panels * panel), body)) return false;
  ++s.learned;
  return true;
}

// ---- the working copy, made again ----

// Rows x .. x + 3 of R - sum u u^T in double.
template <class T>
void rebuild_rows(State<T>& s, int64_t x, double* own) {
  constexpr int group = lanes<double> == 8 ? 4 : 2;
  constexpr int64_t step = group * lanes<double>;
  for (int64_t i = 0; i < s.learned; ++i)
    for (int64_t r = 0; r < 4; ++r) own[4 * i + r] = x + r < s.n ? s.panel_of(x + r, i)[(x + r) % panel] : 0;
  for (int64_t j = 0; j < s.stride; j += step) {
    vec<double> sum[4][group] = {};
    for (int64_t i = 0; i < s.learned; ++i) {
      const double* from = s.panel_of(j, i) + j % panel;
#pragma GCC unroll 4
      for (int v = 0; v < group; ++v) {
        const vec<double> u = load(from + v * lanes<double>);
#pragma GCC unroll 4
        for (int r = 0; r < 4; ++r) sum[r][v] = multiply_add(splat(own[4 * i + r]), u, sum[r][v]);
      }
    }
    for (int64_t r = 0; r < 4 && x + r < s.n; ++r)
      for (int v = 0; v < group; ++v)
        for (int l = 0; l < lanes<double>; ++l) {
          const int64_t at = j + v * lanes<double> + l;
          s.working[(x + r) * s.stride + at] =
              static_cast<compute_t<T>>(at < s.n ? s.given(x + r, at) - sum[r][v][l] : 0.0);
        }
  }
}

template <class T>
bool rebuild(State<T>& s, const Control& control) {
  const auto body = [&](int64_t item, int worker) {
    for (int64_t x = item * 16; x < least_of((item + 1) * 16, s.n); x += 4)
      rebuild_rows(s, x, s.packed + worker * 4 * s.most_learned);
  };
  if (!parallel_for(control, (s.n + 15) / 16, body)) return false;
  s.written = s.exact = s.learned;
  return true;
}

// ---- what a pass needs ----

template <class T>
void describe_row(State<T>& s, int64_t x) {
  using V = compute_t<T>;
  V* f = s.values + x * s.class_stride;
  for (int64_t c = 0; c < s.class_stride; ++c) f[c] = c < s.classes ? static_cast<V>(s.f[x * s.classes + c]) : V(0);
  RowState<V>& row = s.row[x];
  row.predicted = static_cast<int32_t>(s.predicted(x));
  row.second = -1;
  row.f_second = row.f_third = V(-1e30);  // below every prediction, and finite: bounds are made of it
  for (int64_t c = 0; c < s.classes; ++c) {
    if (c == row.predicted) continue;
    if (f[c] > row.f_second) {
      row.f_third = row.f_second;
      row.f_second = f[c];
      row.second = static_cast<int32_t>(c);
    } else if (f[c] > row.f_third) {
      row.f_third = f[c];
    }
  }
  row.f_predicted = f[row.predicted];
  row.target = s.p.objective == Objective::agreement || s.p.targets[x] < 0 ? row.predicted
                                                                           : static_cast<int32_t>(s.p.targets[x]);
  row.f_target = f[row.target];
  V largest = 0;
  for (int64_t c = 0; c < s.classes; ++c) {
    const V size = f[c] > 0 ? f[c] : -f[c];
    largest = size > largest ? size : largest;
  }
  row.rounding = largest * (sizeof(V) == 8 ? V(0x1p-49) : V(0x1p-20));
  row.margin = row.f_predicted - row.f_third - row.rounding;
  row.f_next = row.second == row.target ? row.f_third : row.f_second;
}

template <class T>
void describe_column(State<T>& s, int64_t j) {
  using V = compute_t<T>;
  const V infinity = static_cast<V>(__builtin_inf());
  const V* f = s.values + j * s.class_stride;
  const int64_t label = s.label(j);
  V most = -infinity, least = infinity;
  for (int64_t c = 0; c < s.classes; ++c) {
    if (c == label) continue;
    most = -f[c] > most ? -f[c] : most;
    least = -f[c] < least ? -f[c] : least;
  }
  const V own = 1 - f[label];
  const bool alone = s.classes == 1;
  s.column.own[j] = own;
  s.column.others_most[j] = alone ? V(0) : most;
  s.column.others_least[j] = alone ? V(0) : least;
  s.column.label[j] = static_cast<V>(label);
  s.column.label_index[j] = static_cast<int32_t>(label);
  s.column.inverse[j] = s.determined(j) || !s.open[j] ? V(0) : static_cast<V>(1 / (s.diagonal[j] + s.p.ridge));
}

template <class T>
bool describe(State<T>& s, const Control& control) {
  const auto body = [&](int64_t item, int) {
    const int64_t first = item * panel, last = least_of(first + panel, s.n);
    for (int64_t x = first; x < last; ++x) {
      describe_row(s, x);
      describe_column(s, x);
    }
    for (int64_t c = 0; c < s.classes; ++c)
      for (int64_t j = first; j < last; ++j)
        s.column.gain[c * s.stride + j] =
            c == s.column.label_index[j] ? s.column.own[j] : -s.values[j * s.class_stride + c];
  };
  return parallel_for(control, s.stride / panel, body);
}

// ---- a pass ----

// table[index[0]], table[index[1]], ... of a table of `size` entries, a multiple of the lanes.
template <class V>
inline vec<V> look_up(const V* table, const int32_t* index, [[maybe_unused]] int64_t size) {
#if defined(__AVX512F__)
  if constexpr (sizeof(V) == 4) {
    const __m512i at = _mm512_loadu_si512(index);
    if (size == lanes<V>) return (vec<V>)_mm512_permutexvar_ps(at, (__m512)load(table));
    if (size == 2 * lanes<V>)
      return (vec<V>)_mm512_permutex2var_ps((__m512)load(table), at, (__m512)load(table + lanes<V>));
    return (vec<V>)_mm512_i32gather_ps(at, table, 4);
  } else {
    return (vec<V>)_mm512_i32gather_pd(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(index)), table, 8);
  }
#else
  vec<V> out;
  for (int l = 0; l < lanes<V>; ++l) out[l] = table[index[l]];
  return out;
#endif
}

// Row x against columns: it adds to the sums of a vector of columns what the objective asks for, given their s_xj.
template <class T>
struct RowPass {
  using V = compute_t<T>;
  const State<T>& s;
  const RowState<V>& row;
  const V* f;       // (class_stride,) of row x
  const V* gain_predicted;
  const V* gain_target;
  const V* gain_second;
  V* behind;        // (class_stride,) by how much each class is behind the predicted one, at least; +inf for itself
  V* buffer;        // (classes, lanes)

  RowPass(const State<T>& state, int64_t x, V* classes_buffer)
      : s(state),
        row(state.row[x]),
        f(state.values + x * state.class_stride),
        gain_predicted(state.column.gain + row.predicted * state.stride),
        gain_target(state.column.gain + row.target * state.stride),
        gain_second(state.column.gain + (row.second < 0 ? row.predicted : row.second) * state.stride),
        behind(classes_buffer),
        buffer(classes_buffer + state.class_stride) {
    for (int64_t c = 0; c < s.class_stride; ++c) behind[c] = row.f_predicted - f[c] - row.rounding;
    behind[row.predicted] = static_cast<V>(__builtin_inf());
  }

  template <Objective objective>
  void add(vec<V> change, int64_t j, V* sum) const {
    if constexpr (objective == Objective::risk || objective == Objective::agreement) {
      count(change, j, sum);
    } else if constexpr (objective == Objective::soft_risk) {
      const vec<V> step = change * load(gain_target + j);
      store(sum, multiply_add(step, step - splat(2 - 2 * row.f_target), load(sum)));
    } else if constexpr (objective == Objective::output_change) {
      store(sum, load(sum) + maximum(change, -change));
    } else {
      store(sum, load(sum) + expected_error(change, j));
    }
  }

  // Adds 1 where the target was met and no longer is, and -1 where it is met only now.
  void count(vec<V> change, int64_t j, V* sum) const {
    if (row.predicted == row.target)
      count_lost(change, j, sum);
    else
      count_met(change, j, sum);
  }

  // What no class but p, y and another one can reach, beyond the f of that one.
  vec<V> reach(vec<V> change, int64_t j, vec<V> beyond) const {
    return maximum(change * (load(s.column.others_most + j) - beyond), change * (load(s.column.others_least + j) - beyond));
  }

  // The target is lost for certain where the label or the second class overtakes it. Other classes are far behind, or leave a doubt.
  void count_lost(vec<V> change, int64_t j, V* sum) const {
    const vec<V> at = load(gain_predicted + j), zero = splat(V(0));
    const vec<V> label_behind = look_up(behind, s.column.label_index + j, s.class_stride);
    const vec<V> label = multiply_add(change, load(s.column.own + j) - at, -label_behind);
    const vec<V> second =
        multiply_add(change, load(gain_second + j) - at, splat(row.f_second - row.f_predicted + row.rounding));
    const vec<V> lead = maximum(label, second);
    const auto near = maximum(reach(change, j, at) - splat(row.margin), lead) >= zero;
    if (!lane_mask(near)) return;
    const auto lost = lead > splat(2 * row.rounding);
    const vec<V> delta = lost ? splat(V(1)) : zero;
    const auto doubt = near & ~lost;
    if (lane_mask(doubt))
      decide(change, at, j, doubt, delta, sum);
    else
      store(sum, load(sum) + delta);
  }

  // The target stays unmet where it does not overtake the predicted class. It is met where it is the label and passes all others.
  void count_met(vec<V> change, int64_t j, V* sum) const {
    const vec<V> at = load(gain_predicted + j), step = change * load(gain_target + j);
    const vec<V> lead = multiply_add(-change, at, step) - splat(row.f_predicted - row.f_target);
    const auto near = lead >= splat(-row.rounding);
    if (!lane_mask(near)) return;
    const vec<V> zero = splat(V(0));
    const auto met = (lead > splat(row.rounding)) & (load(s.column.label + j) == splat(static_cast<V>(row.target))) &
                     (step - reach(change, j, zero) > splat(row.f_next - row.f_target + row.rounding));
    const vec<V> delta = met ? splat(V(-1)) : zero;
    const auto doubt = near & ~met;
    if (lane_mask(doubt))
      decide(change, at, j, doubt, delta, sum);
    else
      store(sum, load(sum) + delta);
  }

  // Settles the lanes in doubt, in place of their delta: first p, y and t against a bound on all other classes, then every class.
  template <class Mask>
  [[gnu::noinline]] void decide(vec<V> change, vec<V> at_predicted, int64_t j, Mask doubt, vec<V> delta, V* sum) const {
    const vec<V> nothing = splat(static_cast<V>(-__builtin_inf())), label = load(s.column.label + j);
    const vec<V> f_label = look_up(f, s.column.label_index + j, s.class_stride);
    const vec<V> at_label = multiply_add(change, load(s.column.own + j), f_label);
    const vec<V> at_target = multiply_add(change, load(gain_target + j), splat(row.f_target));
    vec<V> rival = label == splat(static_cast<V>(row.target)) ? nothing : at_label;
    if (row.predicted != row.target) rival = maximum(rival, multiply_add(change, at_predicted, splat(row.f_predicted)));
    // No class but p and y can be above this.
    const vec<V> next = label == splat(static_cast<V>(row.second)) ? splat(row.f_third) : splat(row.f_second);
    const vec<V> others = next + maximum(change * load(s.column.others_most + j), change * load(s.column.others_least + j));
    const V rounding = sizeof(V) == 8 ? V(0x1p-50) : V(0x1p-21);
    const vec<V> limit = others + (maximum(next, -next) + maximum(others, -others)) * rounding;
    const auto lost = at_target < rival, met = at_target > maximum(rival, limit);
    const V before = row.predicted != row.target ? V(1) : V(0);
    const vec<V> decided = lost ? splat(1 - before) : splat(-before);
    store(sum, load(sum) + (doubt ? decided : delta));
    for (uint32_t left = lane_mask(doubt & ~(lost | met)); left; left &= left - 1) {
      const int l = lowest_bit(left);
      if (!target_is_met(change[l], j + l)) sum[l] += 1;
    }
  }

  bool target_is_met(V change, int64_t j) const {
    const V* fj = s.values + j * s.class_stride;
    const int32_t label = s.column.label_index[j], target = row.target;
    const V at_label = multiply_add(change, s.column.own[j], f[label]);
    const V at_target = label == target ? at_label : multiply_add(-change, fj[target], f[target]);
    if (label != target && (at_label > at_target || (at_label == at_target && label < target))) return false;
    for (int64_t c = 0; c < s.class_stride; c += lanes<V>) {
      const vec<V> value = multiply_add(splat(-change), load(fj + c), load(f + c));
      uint32_t above = lane_mask(value >= splat(at_target));
      if (c + lanes<V> > s.classes) above &= (1u << (s.classes - c)) - 1;
      if (label >= c && label < c + lanes<V>) above &= ~(1u << (label - c));
      if (target >= c && target < c + lanes<V>) above &= ~(1u << (target - c));
      for (; above; above &= above - 1) {
        const int l = lowest_bit(above);
        if (value[l] > at_target || c + l < target) return false;
      }
    }
    return true;
  }

  // 1 - the largest entry of the projection of f+ on the simplex. Newton's steps on the threshold, from the left, are exact
  // after at most as many steps as there are classes. The threshold is counted from the largest entry, as 1 may be lost beside
  // a large one.
  vec<V> expected_error(vec<V> change, int64_t j) const {
    vec<V> largest = splat(static_cast<V>(-__builtin_inf()));
    for (int64_t c = 0; c < s.classes; ++c) {
      const vec<V> value = multiply_add(change, load(s.column.gain + c * s.stride + j), splat(f[c]));
      store(buffer + c * lanes<V>, value);
      largest = maximum(largest, value);
    }
    vec<V> threshold = splat(V(-1));
    for (int64_t step = 0; step < s.classes; ++step) {
      vec<V> total = splat(V(-1)), count = splat(V(0));
      for (int64_t c = 0; c < s.classes; ++c) {
        const vec<V> excess = load(buffer + c * lanes<V>) - largest - threshold;
        total += maximum(excess, splat(V(0)));
        count += excess > splat(V(0)) ? splat(V(1)) : splat(V(0));
      }
      const vec<V> next = threshold + total / count;
      if (!lane_mask(next > threshold)) break;
      threshold = maximum(next, threshold);
    }
    return splat(V(1)) + threshold;
  }
};

// The part of R_x: that one vector of columns needs, without the picks that the source lacks.
template <class V>
inline vec<V> load_columns(const V* from, int64_t count) {
  return count >= lanes<V> ? load(from) : load_partial(from, count > 0 ? count : 0);
}

// Columns [first, last) of a row, where they lie or, widened, in `buffer`.
template <class T>
inline const compute_t<T>* columns_of(const Row<T>& x, int64_t first, int64_t last, compute_t<T>* buffer) {
  if (x.as_it_is) return static_cast<const compute_t<T>*>(x.data) + first;
  for_values(x, first, last, [&](int64_t c, compute_t<T> value) { buffer[c - first] = value; });
  return buffer;
}

// Brings row x of the source (R itself, or the working copy) up to date in columns [first, last), keeps it where `keep` says so,
// and hands it on as s_xj.
template <Objective objective, bool keep, class T>
void score_row(const State<T>& s, const RowPass<T>& pass, const Matrix<T>& source, int64_t x, int64_t first, int64_t last,
               compute_t<T>* widened, compute_t<T>* sum) {
  using V = compute_t<T>;
  constexpr int group = 4;
  V own[lookahead_pending];
  const V* picks[lookahead_pending];
  const int count = static_cast<int>(s.pending());
  for (int i = 0; i < count; ++i) {
    picks[i] = s.recent_pick(s.written + i);
    own[i] = picks[i][x];
  }
  // The same columns of the next row: a block is too short for the hardware to see them coming.
  const Row<T> after = row(source, x + 1 < s.n ? x + 1 : x);
  const char* next = static_cast<const char*>(after.data);
  const int64_t value_bytes = after.bytes_per_value();
  const V* given = columns_of(row(source, x), first, least_of(last, s.n), widened);
  for (int64_t j = first; j < last; j += group * lanes<V>) {
    for (int64_t byte = 0; byte < group * lanes<V> * value_bytes; byte += 64) __builtin_prefetch(next + j * value_bytes + byte);
    vec<V> value[group];
    if (j + group * lanes<V> <= s.n) {
#pragma GCC unroll 4
      for (int v = 0; v < group; ++v) value[v] = load(given + j - first + v * lanes<V>);
    } else {
      for (int v = 0; v < group; ++v) value[v] = load_columns(given + j - first + v * lanes<V>, s.n - j - v * lanes<V>);
    }
    for (int i = 0; i < count; ++i) {
      const vec<V> factor = splat(-own[i]);
#pragma GCC unroll 4
      for (int v = 0; v < group; ++v) value[v] = multiply_add(factor, load(picks[i] + j + v * lanes<V>), value[v]);
    }
#pragma GCC unroll 4
    for (int v = 0; v < group; ++v) {
      const int64_t at = j + v * lanes<V>;
      if constexpr (keep) store(s.working + x * s.stride + at, value[v]);
      pass.template add<objective>(value[v] * load(s.column.inverse + at), at, sum + at - first);
    }
  }
}

template <Objective objective, bool keep, class T>
bool score_all(const State<T>& s, const Matrix<T>& source, const Control& control, double done) {
  using V = compute_t<T>;
  const auto body = [&](int64_t block, int worker) {
    V* sum = s.sums + worker * block_columns;
    for (int64_t first = 0; first < s.stride; first += block_columns) {
      const int64_t last = least_of(first + block_columns, s.stride);
      for (int64_t j = first; j < last; ++j) sum[j - first] = 0;
      for (int64_t x = block * s.block_rows; x < least_of((block + 1) * s.block_rows, s.n); ++x) {
        const RowPass<T> pass(s, x, s.classes_buffer + worker * s.class_stride * (lanes<V> + 1));
        score_row<objective, keep>(s, pass, source, x, first, last, s.widened + worker * block_columns, sum);
      }
      for (int64_t j = first; j < last; ++j) s.parts[block * s.stride + j] = static_cast<double>(sum[j - first]);
    }
  };
  return parallel_for(control, s.blocks, body, done, done);
}

// Sums over all rows that do not depend on the candidate.
template <class T>
double at_rest(const State<T>& s) {
  double total = 0;
  for (int64_t x = 0; x < s.n; ++x) {
    const RowState<compute_t<T>>& row = s.row[x];
    const double error = 1 - static_cast<double>(row.f_target);
    if (s.p.objective == Objective::risk) total += row.predicted != row.target;
    if (s.p.objective == Objective::soft_risk) total += error * error;
  }
  return total;
}

template <class T>
double gain_norm(const State<T>& s, int64_t j) {
  double total = 0;
  for (int64_t c = 0; c < s.classes; ++c) {
    const double gain = static_cast<double>(s.column.gain[c * s.stride + j]);
    total = multiply_add(gain, gain, total);
  }
  return root(total);
}

// The objective as it is told, from what was summed.
template <class T>
double objective_of(const State<T>& s, double rest, double summed, int64_t j) {
  switch (s.p.objective) {
    case Objective::agreement: return static_cast<double>(s.n) - summed;
    case Objective::output_change: return summed * gain_norm(s, j);
    default: return rest + summed;
  }
}

// Scores of all candidates as things are now, in s.primary.
template <class T>
bool score_from(State<T>& s, const Matrix<T>& source, const Control& control, double done) {
  const bool keep = s.working && s.pending() == lookahead_pending;
  const auto with = [&]<Objective objective>() {
    return keep ? score_all<objective, true>(s, source, control, done)
                : score_all<objective, false>(s, source, control, done);
  };
  bool completed = false;
  switch (s.p.objective) {
    case Objective::risk:
    case Objective::agreement: completed = with.template operator()<Objective::risk>(); break;
    case Objective::soft_risk: completed = with.template operator()<Objective::soft_risk>(); break;
    case Objective::output_change: completed = with.template operator()<Objective::output_change>(); break;
    case Objective::expected_risk: completed = with.template operator()<Objective::expected_risk>(); break;
  }
  if (!completed) return false;
  if (keep) s.written = s.learned;
  const double rest = at_rest(s);
  return parallel_for(control, s.stride / panel, [&](int64_t item, int) {
    for (int64_t j = item * panel; j < least_of((item + 1) * panel, s.n); ++j) {
      double summed = 0;
      for (int64_t block = 0; block < s.blocks; ++block) summed += s.parts[block * s.stride + j];
      s.primary[j] = objective_of(s, rest, summed, j);
    }
  });
}

template <class T>
bool score(State<T>& s, const Control& control, double done) {
  if (!describe(s, control)) return false;
  // A given R is used as it is until `pending` picks have to be written somewhere.
  if ((s.pending() > lookahead_pending || s.learned - s.exact >= lookahead_refresh) && !rebuild(s, control)) return false;
  return score_from(s, s.written ? plain(s.working, s.n, s.stride) : s.p.R, control, done);
}

// ---- the pick ----

// What decides among candidates with equal objectives: the soft risk (for risk) or the output change (for agreement), less being
// better. R is symmetric, so that its column is read as a row.
template <class T>
double tie_breaker(const State<T>& s, int64_t j) {
  using V = compute_t<T>;
  const V* fj = s.values + j * s.class_stride;
  const double inverse = static_cast<double>(s.column.inverse[j]);
  double total = 0;
  const Row<T> given = row(s.written ? plain(s.working, s.n, s.stride) : s.p.R, j);
  for (int64_t x = 0; x < s.n; ++x) {
    V value = given[x];
    for (int64_t i = s.written; i < s.learned; ++i) value = multiply_add(-s.recent_pick(i)[j], s.recent_pick(i)[x], value);
    const double change = static_cast<double>(value) * inverse;
    if (s.p.objective == Objective::agreement) {
      total -= change > 0 ? change : -change;
    } else {
      const int32_t target = s.row[x].target;
      const V gain = target == s.column.label_index[j] ? s.column.own[j] : -fj[target];
      const double error = 1 - static_cast<double>(s.row[x].f_target) - change * static_cast<double>(gain);
      total = multiply_add(error, error, total);
    }
  }
  return s.p.objective == Objective::agreement ? total * gain_norm(s, j) : total;
}

// -1: stopped.
template <class T>
int64_t best_candidate(State<T>& s, const Control& control) {
  const double sign = s.p.objective == Objective::output_change ? -1 : 1;
  int64_t ties = 0;
  for (int64_t j = 0; j < s.n; ++j) {
    if (!s.open[j]) continue;
    const double value = sign * s.primary[j], best = ties ? sign * s.primary[s.tied[0]] : 0;
    if (ties && value > best) continue;
    if (ties && value < best) ties = 0;
    s.tied[ties++] = j;
  }
  if (ties == 1 || (s.p.objective != Objective::risk && s.p.objective != Objective::agreement)) return s.tied[0];
  const auto body = [&](int64_t t, int) { s.secondary[t] = tie_breaker(s, s.tied[t]); };
  if (!parallel_for(control, ties, body)) return -1;
  int64_t best = 0;
  for (int64_t t = 1; t < ties; ++t)
    if (s.secondary[t] < s.secondary[best]) best = t;
  return s.tied[best];
}

// A row of which more has been learned than R holds: R was not positive semidefinite.
template <class T>
int64_t indefinite_row(const State<T>& s) {
  for (int64_t j = 0; j < s.n; ++j)
    if (s.diagonal[j] < -semidefinite_within(s.p.R) * (s.given(j, j) + s.p.ridge)) return j;
  return -1;
}

}  // namespace

template <Isa isa, class T>
int64_t ntk_lookahead_scratch(const NtkLookaheadParams<T>& p, int threads) {
  Arena arena(nullptr);
  State<T>(p, threads, arena);
  arena.take<double>(p.classes);
  return arena.bytes();
}

template <Isa isa, class T>
bool ntk_lookahead(const NtkLookaheadParams<T>& p, void* scratch, const Control& control) {
  Arena arena(scratch);
  State<T> s(p, control.threads, arena);
  double* change = arena.take<double>(p.classes);
  *p.indefinite = -1;
  for (int64_t i = 0; i < s.n * s.classes; ++i) s.f[i] = p.f[i];
  for (int64_t j = 0; j < s.stride; ++j) {
    s.diagonal[j] = j < s.n ? s.given(j, j) : 0;
    s.column.inverse[j] = s.column.own[j] = 0;
    s.column.others_most[j] = s.column.others_least[j] = s.column.label[j] = 0;
    s.column.label_index[j] = 0;
    for (int64_t c = 0; c < s.classes; ++c) s.column.gain[c * s.stride + j] = 0;
  }
  for (int64_t j = 0; j < s.n; ++j) s.open[j] = p.candidates.data == nullptr;
  for (int64_t i = 0; p.candidates.data && i < p.candidates.size; ++i) s.open[p.candidates.data[i]] = 1;
  for (int64_t i = 0; i < p.labeled.size; ++i)
    if (!learn(s, p.labeled.data[i], change, control)) return false;
  if ((*p.indefinite = indefinite_row(s)) >= 0) return true;
  const double steps = static_cast<double>(p.batch_size > 0 ? p.batch_size : 1);
  for (int64_t t = 0; t < (p.batch_size > 0 ? p.batch_size : 1); ++t) {
    if (!score(s, control, static_cast<double>(t) / steps)) return false;
    for (int64_t j = 0; t == 0 && j < s.n; ++j)
      if (s.open[j]) p.scores[j] = s.primary[j];
    if (p.batch_size == 0) break;
    const int64_t pick = best_candidate(s, control);
    if (pick < 0) return false;
    p.positions[t] = pick;
    p.objectives[t] = s.primary[pick];
    s.open[pick] = 0;
    if (t + 1 == p.batch_size) break;
    if (!learn(s, pick, change, control)) return false;
    if ((*p.indefinite = indefinite_row(s)) >= 0) return true;
  }
  return true;
}

PYAL_INSTANTIATE_KERNEL(ntk_lookahead, NtkLookaheadParams)

}  // namespace pyal::cpu
