// The nearest of a few centres for many rows: centres are packed once in chunks, rows group by group; Filter leaves the
// centres that may be nearest, and sums of squared differences decide among them, ties to the lower centre.
//
// Two bounds leave a centre out. Its own distance is bounded as in tiles.hpp. And against the centre looked at first, what
// storing lost of the row matters only along the centres: with v_c = |c'|^2 - 2 <x', c'>, v_c - v_first is off by at most
// 2 wobble, wobble = 2 (lost_x |c| + (|x'| + |c|) lost_c) + rounding. Near the origin of the frame |c| is small, and so is this.
#pragma once
#include "tiles.hpp"

namespace pyal {
namespace {

template <class T, class B>  // rows of T, centres of B (T itself or compute_t<T>)
class Nearest {
 public:
  using V = compute_t<T>;

  Nearest(int64_t d, int64_t k, int threads, Arena& arena) : d_(d), chunk_(at_most(k, 2048)) {
    centers_ = take_panel<Filter>(arena, chunk_, d);
    a_ = arena.take<Panel<Filter>>(threads);
    for (int t = 0; t < threads; ++t) {
      const Panel<Filter> a = take_panel<Filter>(arena, Filter::rows, d);
      if (a_) a_[t] = a;
    }
    const int64_t stride = round_up(chunk_, Filter::cols);
    low_ = arena.take<float>(stride);
    c_ = arena.take<float>(threads * Filter::rows * stride);
    packing_ = arena.take<typename Filter::word>(threads * pack_scratch<Filter>(d));
  }

  // For the rows list[0 .. count): best[i] and index[i] are lowered where a centre is nearer than best (in: +inf, or the
  // outcome of other centres; index may be nullptr); lower[i], where given, becomes a lower bound on the Euclidean distance to
  // every centre but index[i]. All indexed by position of the row. before, after: how far the kernel is, for its progress.
  bool run(const RowList<T>& list, int64_t count, const RowList<B>& centers, int64_t k, const Frame<T>& frame, V* best,
           int64_t* index, V* lower, const Control& control, double before = -1, double after = -1) {
    const Frame<B> center_frame = {frame.origin, frame.scale};
    const float slack = filter_slack(d_);
    constexpr int64_t groups = 8;  // of rows, per work item
    for (int64_t k0 = 0; k0 < k; k0 += chunk_) {
      pack<Filter, false>(centers, k0, at_most(chunk_, k - k0), center_frame, centers_, packing_);
      const int64_t stride = round_up(centers_.count, Filter::cols);
      max_norm_ = 0;
      for (int64_t j = 0; j < centers_.count; ++j)
        if (centers_.sqnorm[j] > max_norm_) max_norm_ = centers_.sqnorm[j];
      max_norm_ = __builtin_sqrtf(max_norm_) * (1 + 0x1p-20f);
      for (int64_t j = 0; j < stride; ++j)
        low_[j] = j < centers_.count ? centers_.sqnorm[j] * (1 - slack) : __builtin_inff();
      const auto item = [&](int64_t number, int worker) {
        float* c = c_ + worker * Filter::rows * stride;
        for (int64_t i0 = number * groups * Filter::rows; i0 < at_most((number + 1) * groups * Filter::rows, count);
             i0 += Filter::rows) {
          Panel<Filter>& a = a_[worker];
          pack<Filter, true>(list, i0, at_most(Filter::rows, count - i0), frame, a,
                             packing_ + worker * pack_scratch<Filter>(d_));
          Filter::begin();
          multiply<Filter>(a.words, centers_, Filter::words(d_), c, stride);
          Filter::end();
          for (int64_t r = 0; r < a.count; ++r)
            row_against_chunk(list, i0 + r, centers, k0, frame, a.sqnorm[r] * (1 - slack), a.lost[r] + centers_.max_lost,
                              wobble(a.sqnorm[r], a.lost[r], slack), c + r * stride, stride, best, index, lower);
        }
      };
      const auto reached = [&](int64_t center) {
        return before < 0 ? before : before + (after - before) * static_cast<double>(center) / static_cast<double>(k);
      };
      if (!parallel_for(control, (count + groups * Filter::rows - 1) / (groups * Filter::rows), item, reached(k0),
                        reached(at_most(k0 + chunk_, k))))
        return false;
    }
    return true;
  }

 private:
  void row_against_chunk(const RowList<T>& list, int64_t i, const RowList<B>& centers, int64_t k0, const Frame<T>& frame, float low_i,
                         float lost, float wobble, const float* products, int64_t stride, V* best, int64_t* index, V* lower) const {
    const int64_t at = list.position(i);
    const T* x = list[i];
    // Smallest and second smallest of the lower bounds (|a'|^2 is left out of all of them).
    vec<float> smallest = splat(__builtin_inff()), second = smallest;
    for (int64_t j = 0; j < stride; j += lanes<float>) {
      const vec<float> value = load(low_ + j) - load(products + j) * 2.0f;
      second = minimum(second, maximum(smallest, value));
      smallest = minimum(smallest, value);
    }
    float first = __builtin_inff(), next = first;
    for (int l = 0; l < lanes<float>; ++l) {
      const float value = smallest[l], runner_up = second[l];
      if (value < first) {
        next = first < runner_up ? first : runner_up;
        first = value;
      } else if (value < next) {
        next = value;
      }
    }
    V found = best[at];
    int64_t winner = -1;
    float limit = limit_for(found, frame, lost) - low_i;
    const auto look = [&](int64_t j) {
      const V distance = sqdist(x, centers[k0 + j], d_);
      if (distance < found || (distance == found && winner > k0 + j)) {
        found = distance;
        winner = k0 + j;
        const float closer = limit_for(found, frame, lost) - low_i;
        if (closer < limit) limit = closer;
      }
    };
    int64_t looked = -1;
    if (first <= limit) {
      for (int64_t j = 0; looked < 0 && j < stride; j += lanes<float>) {
        const uint32_t mask = lane_mask(load(low_ + j) - load(products + j) * 2.0f <= splat(first));
        if (mask) looked = j + lowest_bit(mask);
      }
      if (looked < 0 || looked >= centers_.count) looked = 0;  // nothing but infinities: any centre to begin with
      look(looked);
      if (first + 2 * wobble < limit) limit = first + 2 * wobble;
      if (next <= limit)
        for (int64_t j = 0; j < stride; j += lanes<float>) {
          uint32_t mask = lane_mask(load(low_ + j) - load(products + j) * 2.0f <= splat(limit));
          for (; mask; mask &= mask - 1) {
            const int64_t column = j + lowest_bit(mask);
            if (column != looked && column < centers_.count) look(column);
          }
        }
    }
    if (lower) {
      const float shown = winner == k0 + looked && winner >= 0 ? next : first;
      float bound = shown + low_i;
      bound = (bound > 0 ? __builtin_sqrtf(bound) : 0) * (1 - 0x1p-21f) - lost;
      V far = bound > 0 ? static_cast<V>(bound) / frame.scale : V(0);
      if (winner >= 0 && winner == k0 + looked) {  // the others are at least as far beyond it as they look, less the wobble
        const double scale2 = static_cast<double>(frame.scale) * static_cast<double>(frame.scale);
        const double beyond = static_cast<double>(found) * (1 - sum_error(d_)) + (static_cast<double>(next - first) - 2 * wobble) / scale2;
        const V other = beyond > 0 ? static_cast<V>(__builtin_sqrt(beyond) * (1 - 0x1p-21)) : V(0);
        if (other > far) far = other;
      }
      if (winner >= 0 && best[at] < V(__builtin_inf())) {  // the centre that won before is now one of the others
        const V displaced = static_cast<V>(__builtin_sqrt(static_cast<double>(best[at])) * (1 - 0x1p-21));
        if (displaced < far) far = displaced;
      }
      if (far < lower[at]) lower[at] = far;
    }
    if (winner >= 0) {
      best[at] = found;
      if (index) index[at] = winner;
    }
  }

  static float limit_for(V best, const Frame<T>& frame, float lost) {
    const double reach = __builtin_sqrt(static_cast<double>(best)) * static_cast<double>(frame.scale);
    return reach_bound(static_cast<float>(reach * (1 + 0x1p-22)), lost);
  }

  // Relative, of a sum of squared differences: at least 8 partial sums, whatever the instruction set.
  static double sum_error(int64_t d) { return static_cast<double>(d / 8 + 64) * 0x1p-23; }

  float wobble(float sqnorm, float lost, float slack) const {
    const float norm = __builtin_sqrtf(sqnorm) * (1 + 0x1p-20f), far = max_norm_ + centers_.max_lost;
    return (2 * (lost * far + (norm + far) * centers_.max_lost) + slack * (2 * norm * max_norm_ + 2 * max_norm_ * max_norm_)) *
           (1 + 0x1p-18f);
  }

  int64_t d_, chunk_;
  float max_norm_ = 0;
  Panel<Filter> centers_;
  Panel<Filter>* a_;
  float* low_;
  float* c_;
  typename Filter::word* packing_;
};

}  // namespace
}  // namespace pyal
