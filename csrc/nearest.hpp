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

// What is known of a row and the centres it was compared with.
template <class V>
struct Found {
  V best;             // squared distance to centre `index`
  int64_t index = -1; // -1: best is as it came in
  V lower = static_cast<V>(__builtin_inf());  // Euclidean, not squared: every other centre is at least as far away
};

template <class T, class B>  // rows of T, centres of B (T itself or compute_t<T>)
class Nearest {
 public:
  using V = compute_t<T>;

  // Room for k centres, or for the part of them that is packed at a time.
  Nearest(int64_t d, int64_t k, int threads, Arena& arena) : d_(d), room_(at_most(k, 2048)) {
    panel_ = take_panel<Filter>(arena, room_, d);
    a_ = arena.take<Panel<Filter>>(threads);
    for (int t = 0; t < threads; ++t) {
      const Panel<Filter> a = take_panel<Filter>(arena, Filter::rows, d);
      if (a_) a_[t] = a;
    }
    low_ = arena.take<float>(round_up(room_, Filter::cols));
    products_ = arena.take<float>(threads * Filter::rows * round_up(room_, Filter::cols));
    packing_ = arena.take<typename Filter::word>(threads * pack_scratch<Filter>(d));
  }

  int64_t room() const { return room_; }

  // The centres to compare with become centers[first, first + count), count <= room().
  void set_centers(const RowList<B>& centers, int64_t first, int64_t count, const Frame<T>& frame) {
    centers_ = centers;
    first_ = first;
    max_norm_ = 0;
    pack<Filter, false>(centers, first, count, {frame.origin, frame.scale}, panel_, packing_);
    for (int64_t j = 0; j < round_up(count, Filter::cols); ++j) note_center(j);
  }

  // One more, the next of the list; there is room for it.
  void add_center(const Frame<T>& frame) {
    const int64_t j = panel_.count;
    append_b<Filter>(centers_[first_ + j], d_, Frame<B>{frame.origin, frame.scale}, panel_, packing_);
    if (j % Filter::cols == 0)
      for (int64_t later = j + 1; later < j + Filter::cols; ++later) note_center(later);
    note_center(j);
  }

  // Rows list[i0, i0 + count), count <= Filter::rows, of a list of `end` rows: found[r].best is lowered, exactly, where one
  // of the centres from number from[r] on (nullptr: of all) is nearer. With bounds_do, best may also be an upper bound of the
  // distance, where there is no doubt which centre is nearest.
  void compare(const RowList<T>& list, int64_t i0, int64_t count, int64_t end, const Frame<T>& frame, const int64_t* from,
               bool bounds_do, Found<V>* found, int worker) const {
    Panel<Filter>& a = a_[worker];
    pack<Filter, true>(list, i0, count, frame, a, packing_ + worker * pack_scratch<Filter>(d_), end);
    int64_t begin = from ? from[0] : 0;
    for (int64_t r = 1; from && r < count; ++r) begin = at_most(begin, from[r]);
    begin = begin / Filter::cols * Filter::cols;
    const int64_t stride = round_up(panel_.count - begin, Filter::cols);
    float* products = products_ + worker * Filter::rows * round_up(room_, Filter::cols);
    const int64_t words = Filter::words(d_);
    Filter::begin();
    for (int64_t j = 0; j < stride; j += Filter::cols)
      Filter::run(a.words, panel_.words + (begin + j) * words, words, products + j, stride, count);
    Filter::end();
    for (int64_t r = 0; r < count; ++r) {
      const int64_t skipped = from ? (from[r] - begin) / lanes<float> * lanes<float> : 0;
      compare_row(list[i0 + r], begin + skipped, stride - skipped, frame, a.sqnorm[r], a.lost[r], products + r * stride + skipped,
                  bounds_do, found[r]);
    }
  }

  // For the rows list[0 .. count) and all k centres: best[i] and index[i] are lowered where a centre is nearer than best (in:
  // +inf, or the outcome of other centres; index may be nullptr); lower[i], where given, becomes a lower bound on the Euclidean
  // distance to every centre but index[i], and best[i] may be an upper bound on the squared distance to that one. All indexed
  // by position of the row. before, after: how far the kernel is, for its progress.
  bool run(const RowList<T>& list, int64_t count, const RowList<B>& centers, int64_t k, const Frame<T>& frame, V* best,
           int64_t* index, V* lower, const Control& control, double before = -1, double after = -1) {
    constexpr int64_t groups = 8;  // of rows, per work item
    for (int64_t k0 = 0; k0 < k; k0 += room_) {
      set_centers(centers, k0, at_most(room_, k - k0), frame);
      const auto item = [&](int64_t number, int worker) {
        const int64_t end = at_most((number + 1) * groups * Filter::rows, count);
        for (int64_t i0 = number * groups * Filter::rows; i0 < end; i0 += Filter::rows) {
          Found<V> found[Filter::rows];
          const int64_t rows = at_most(Filter::rows, end - i0);
          for (int64_t r = 0; r < rows; ++r) found[r].best = best[list.position(i0 + r)];
          compare(list, i0, rows, end, frame, nullptr, lower && k <= room_, found, worker);
          for (int64_t r = 0; r < rows; ++r) {
            const int64_t at = list.position(i0 + r);
            best[at] = found[r].best;
            if (index && found[r].index >= 0) index[at] = found[r].index;
            if (lower && found[r].lower < lower[at]) lower[at] = found[r].lower;
          }
        }
      };
      const auto reached = [&](int64_t center) {
        return before < 0 ? before : before + (after - before) * static_cast<double>(center) / static_cast<double>(k);
      };
      if (!parallel_for(control, (count + groups * Filter::rows - 1) / (groups * Filter::rows), item, reached(k0),
                        reached(at_most(k0 + room_, k))))
        return false;
    }
    return true;
  }

 private:
  // What the bounds need to know of centre j of the panel.
  void note_center(int64_t j) {
    const bool there = j < panel_.count;
    low_[j] = there ? panel_.sqnorm[j] * (1 - filter_slack(d_)) : __builtin_inff();
    const float norm = there ? __builtin_sqrtf(panel_.sqnorm[j]) * (1 + 0x1p-20f) : 0;
    if (norm > max_norm_) max_norm_ = norm;
  }

  // The centres from `begin` of the panel on; `columns` of products, whole vectors of them.
  void compare_row(const T* x, int64_t begin, int64_t columns, const Frame<T>& frame, float sqnorm, float lost_x,
                   const float* products, bool bounds_do, Found<V>& found) const {
    const float slack = filter_slack(d_), low_x = sqnorm * (1 - slack), lost = lost_x + panel_.max_lost;
    const float twice_wobble = 2 * wobble(sqnorm, lost_x, slack);
    const float* low = low_ + begin;
    // Smallest and second smallest of the lower bounds (|a'|^2 is left out of all of them).
    vec<float> smallest = splat(__builtin_inff()), second = smallest;
    for (int64_t j = 0; j < columns; j += lanes<float>) {
      const vec<float> value = load(low + j) - load(products + j) * 2.0f;
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
    const V before = found.best;
    bool exact = true;
    int64_t winner = -1, looked = -1;
    float limit = limit_for(found.best, frame, lost) - low_x;
    const auto look = [&](int64_t j) {
      const V distance = sqdist(x, centers_[first_ + begin + j], d_);
      if (distance < found.best || (distance == found.best && winner > j)) {
        found.best = distance;
        winner = j;
        const float closer = limit_for(found.best, frame, lost) - low_x;
        if (closer < limit) limit = closer;
      }
    };
    if (first <= limit) {
      for (int64_t j = 0; looked < 0 && j < columns; j += lanes<float>) {
        const uint32_t mask = lane_mask(load(low + j) - load(products + j) * 2.0f <= splat(first));
        if (mask) looked = j + lowest_bit(mask);
      }
      if (looked < 0 || begin + looked >= panel_.count) looked = 0;  // nothing but infinities: any centre to begin with
      if (bounds_do && next - first > twice_wobble) {
        const Bounds bounds = distance_bounds(sqnorm, panel_.sqnorm[begin + looked], products[looked], lost, slack);
        found.best = static_cast<V>(bounds.upper) / frame.scale / frame.scale;
        winner = looked;
        exact = false;
      } else {
        look(looked);
      }
      if (first + twice_wobble < limit) limit = first + twice_wobble;
      if (next <= limit)
        for (int64_t j = 0; j < columns; j += lanes<float>) {
          uint32_t mask = lane_mask(load(low + j) - load(products + j) * 2.0f <= splat(limit));
          for (; mask; mask &= mask - 1) {
            const int64_t column = j + lowest_bit(mask);
            if (column != looked && begin + column < panel_.count) look(column);
          }
        }
      if (winner >= 0) found.index = first_ + begin + winner;
    }

    const bool others_follow = winner >= 0 && winner == looked;  // `first` is the winner's, every other centre shows `next` or more
    const float shown = (others_follow ? next : first) + low_x;
    const float away = (shown > 0 ? __builtin_sqrtf(shown) : 0) * (1 - 0x1p-21f) - lost;
    found.lower = away > 0 ? static_cast<V>(away) / frame.scale : V(0);
    if (others_follow && exact) {  // they are at least as far beyond the winner as they look, less the wobble
      const double scale2 = static_cast<double>(frame.scale) * static_cast<double>(frame.scale);
      const double square =
          static_cast<double>(found.best) * (1 - sum_error(d_)) + static_cast<double>(next - first - twice_wobble) / scale2;
      const V beyond = square > 0 ? static_cast<V>(__builtin_sqrt(square) * (1 - 0x1p-21)) : V(0);
      if (beyond > found.lower) found.lower = beyond;
    }
    if (winner >= 0 && before < V(__builtin_inf())) {  // the centre that won before is now one of the others
      const V displaced = static_cast<V>(__builtin_sqrt(static_cast<double>(before)) * (1 - 0x1p-21));
      if (displaced < found.lower) found.lower = displaced;
    }
  }

  static float limit_for(V best, const Frame<T>& frame, float lost) {
    const double reach = __builtin_sqrt(static_cast<double>(best)) * static_cast<double>(frame.scale);
    return reach_bound(static_cast<float>(reach * (1 + 0x1p-22)), lost);
  }

  // Relative, of a sum of squared differences: at least 8 partial sums, whatever the instruction set.
  static double sum_error(int64_t d) { return static_cast<double>(d / 8 + 64) * 0x1p-23; }

  float wobble(float sqnorm, float lost, float slack) const {
    const float norm = __builtin_sqrtf(sqnorm) * (1 + 0x1p-20f), far = max_norm_ + panel_.max_lost;
    return (2 * (lost * far + (norm + far) * panel_.max_lost) + slack * (2 * norm * max_norm_ + 2 * max_norm_ * max_norm_)) *
           (1 + 0x1p-18f);
  }

  int64_t d_, room_;
  RowList<B> centers_ = {};
  int64_t first_ = 0;  // of the centres that are packed
  float max_norm_ = 0;
  Panel<Filter> panel_;
  Panel<Filter>* a_;
  float* low_;
  float* products_;
  typename Filter::word* packing_;
};

}  // namespace
}  // namespace pyal
