// Products of a group of rows with all centres, chunk by chunk, then one pass over them while they are in cache. Rows and
// centres are taken about the mean of the centres, which keeps the cancellation of the expanded square small.
#include "sup_scores.hpp"

#include "../cpu/instantiate.hpp"
#include "../cpu/tiles.hpp"

namespace pyal::cpu {
namespace {

constexpr int64_t center_chunk = 512, groups_per_item = 8;

template <class T>
struct Layout {
  using V = compute_t<T>;
  using K = Product<V>;
  V* origin;
  double* mean;
  Panel<K> centers;
  Panel<K>* rows;
  V* products;
  V* sums;
  V* packing;
  double* exact;  // (k, d) centres
  double* apart;  // (k, k) between centres
  V* weights;     // (k, k)

  Layout(const SupScoresParams<T>& p, int threads, Arena& arena) {
    const int64_t d = p.X.cols;
    origin = arena.take<V>(d);
    mean = arena.take<double>(d);
    centers = take_panel<K>(arena, at_most(p.k, center_chunk), d);
    rows = arena.take<Panel<K>>(threads);
    for (int t = 0; t < threads; ++t) {
      const Panel<K> panel = take_panel<K>(arena, K::rows, d);
      if (rows) rows[t] = panel;
    }
    products = arena.take<V>(threads * K::rows * round_up(at_most(p.k, center_chunk), K::cols));
    sums = arena.take<V>(p.X.rows);
    packing = arena.take<V>(threads * pack_scratch<K>(d));
    exact = arena.take<double>(p.k * d);
    apart = arena.take<double>(p.k * p.k);
    weights = arena.take<V>(p.k * p.k);
  }
};

template <class T>
bool make_weights(const SupScoresParams<T>& p, const Layout<T>& s, const Control& control) {
  using V = compute_t<T>;
  const int64_t d = p.X.cols, k = p.k;
  for (int64_t j = 0; j < k * d; ++j) s.exact[j] = static_cast<double>(p.centers[j]);
  const bool completed = parallel_for(control, k, [&](int64_t own, int) {
    s.apart[own * k + own] = __builtin_inf();
    for (int64_t c = own + 1; c < k; c += 4) {
      int64_t others[4];
      double sq[4];
      for (int r = 0; r < 4; ++r) others[r] = at_most(c + r, k - 1);
      sqdist4(plain(s.exact, k, d), others, plain(s.exact + own * d), d, sq);
      for (int64_t r = 0; r < at_most(4, k - c); ++r)
        s.apart[own * k + c + r] = s.apart[(c + r) * k + own] = __builtin_sqrt(sq[r]);
    }
  });
  return completed && parallel_for(control, k, [&](int64_t own, int) {
    double* apart = s.apart + own * k;
    double nearest = __builtin_inf(), sum = 0;
    for (int64_t c = 0; c < k; ++c)
      if (apart[c] < nearest) nearest = apart[c];
    for (int64_t c = 0; c < k; ++c) sum += apart[c] = __builtin_exp((nearest - apart[c]) / p.temperature);
    for (int64_t c = 0; c < k; ++c) s.weights[own * k + c] = static_cast<V>(apart[c] / sum);
  });
}

// sum over the centres [k0, k0 + count) of weight * distance.
template <class V, class T>
V weighted_distance(const Row<T>& x, const V* centers, int64_t d, V sqnorm, const Panel<Product<V>>& panel, const V* products,
                    const V* weights) {
  constexpr int width = lanes<V>;
  // Below this share of the norms the expanded square has lost too many digits (it keeps about 2^-22 of the norms).
  constexpr V doubtful = V(0.05);
  vec<V> total = {};
  V rest = 0;
  for (int64_t j = 0; j < panel.count; j += width) {
    V sq[width], w[width];
    const int64_t valid = at_most(width, panel.count - j);
    if (valid == width) {
      const vec<V> norms = load(panel.sqnorm + j) + sqnorm, value = multiply_add(load(products + j), splat(V(-2)), norms);
      const vec<V> weight = load(weights + j);
      if (!lane_mask(value < norms * doubtful)) {
        total = multiply_add(weight, square_root<V>(value), total);
        continue;
      }
      store(sq, value);
      store(w, weight);
    } else {
      for (int64_t l = 0; l < valid; ++l) {
        sq[l] = panel.sqnorm[j + l] + sqnorm - products[j + l] * V(2);
        w[l] = weights[j + l];
      }
    }
    for (int64_t l = 0; l < valid; ++l) {
      if (w[l] == 0) continue;
      if (!(sq[l] >= (panel.sqnorm[j + l] + sqnorm) * doubtful)) sq[l] = sqdist(x, plain(centers + (j + l) * d), d);
      rest = multiply_add(w[l], static_cast<V>(__builtin_sqrt(static_cast<double>(sq[l]))), rest);
    }
  }
  return rest + sum_lanes<V>(total);
}

}  // namespace

template <Isa isa, class T>
int64_t sup_scores_scratch(const SupScoresParams<T>& p, int threads) {
  Arena arena(nullptr);
  Layout<T>(p, threads, arena);
  return arena.bytes();
}

template <Isa isa, class T>
bool sup_scores(const SupScoresParams<T>& p, void* scratch, const Control& control) {
  using V = compute_t<T>;
  using K = Product<V>;
  Arena arena(scratch);
  Layout<T> s(p, control.threads, arena);
  const int64_t d = p.X.cols;
  const RowList<T> rows = {p.X, nullptr};
  const RowList<T> centers = {plain(p.centers, p.k, d), nullptr};
  const Frame<T> center_frame = {make_frame(centers, p.k, s.origin, s.mean).origin, 1};
  const Frame<T> frame = {s.origin, 1};
  if (!make_weights(p, s, control)) return false;
  for (int64_t k0 = 0; k0 < p.k; k0 += center_chunk) {
    const bool first = k0 == 0, last = k0 + center_chunk >= p.k;
    pack<K, false>(centers, k0, at_most(center_chunk, p.k - k0), center_frame, s.centers, s.packing);
    const int64_t stride = round_up(s.centers.count, K::cols);
    const auto item = [&](int64_t number, int worker) {
      Panel<K>& panel = s.rows[worker];
      V* products = s.products + worker * K::rows * stride;
      const int64_t end = at_most((number + 1) * groups_per_item * K::rows, p.X.rows);
      for (int64_t i0 = number * groups_per_item * K::rows; i0 < end; i0 += K::rows) {
        pack<K, true>(rows, i0, at_most(K::rows, end - i0), frame, panel, s.packing + worker * pack_scratch<K>(d), end);
        for (int64_t i = i0 + K::rows; i < at_most(i0 + 2 * K::rows, end); ++i) prefetch_row(rows[i], d);  // meanwhile
        multiply<K>(panel.words, s.centers, d, products, stride);
        for (int64_t r = 0; r < panel.count; ++r) {
          const int64_t i = i0 + r;
          const V part = weighted_distance<V>(rows[i], p.centers + k0 * d, d, panel.sqnorm[r], s.centers,
                                              products + r * stride, s.weights + p.assignment[i] * p.k + k0);
          s.sums[i] = first ? part : s.sums[i] + part;
          if (last) p.scores[i] = V(1) / s.sums[i];
        }
      }
    };
    const double before = static_cast<double>(k0) / static_cast<double>(p.k);
    if (!parallel_for(control, (p.X.rows + groups_per_item * K::rows - 1) / (groups_per_item * K::rows), item, before,
                      before + static_cast<double>(s.centers.count) / static_cast<double>(p.k)))
      return false;
  }
  return true;
}

PYAL_INSTANTIATE_KERNEL(sup_scores, SupScoresParams)

}  // namespace pyal::cpu
