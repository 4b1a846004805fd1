// Finds the nearest of a few centres for many rows. Centres are packed once, in chunks, and rows group by group. Filter leaves
// the centres that may be nearest, and sums of squared differences decide among these; ties go to the lower centre.
//
// Two bounds leave a centre out. The first is on its own distance, as in tiles.hpp. The second compares it with the other
// centres: s_c = |c|^2 - 2 <x, c> orders them, and what storing has lost of the row matters in it only along the centres. It is
// computed to within wobble * n_c, where n_c >= |c'| and lost_c <= ratio n_c:
//   |error| <= 2 lost_x |c| + (2 |x'| + |c'| + |c|) lost_c + rounding
//           <= n_c (2 lost_x + 2 (ratio + slack) (|x'| + most |c'|)) (1 + 2 ratio)
// Near the origin of the frame |c| is small, and so is this error.
#pragma once
#include "tiles.hpp"

namespace pyal {
namespace {

// The relative error of a sum of d squared differences, which has at least 8 partial sums on every instruction set.
template <class V>
inline double sum_error(int64_t d) {
  return static_cast<double>(d / 8 + 64) * (sizeof(V) == 4 ? 0x1p-23 : 0x1p-52);
}

// Bounds on the Euclidean distance whose computed square this is.
template <class V>
inline V distance_up(V square, int64_t d) {
  return static_cast<V>(__builtin_sqrt(static_cast<double>(square) * (1 + 2 * sum_error<V>(d))) * (1 + 0x1p-21));
}
template <class V>
inline V distance_down(V square, int64_t d) {
  return static_cast<V>(__builtin_sqrt(static_cast<double>(square) * (1 - sum_error<V>(d))) * (1 - 0x1p-21));
}

// What is known of a row and the centres it was compared with.
template <class V>
struct Found {
  V best;             // squared distance to centre `index`
  int64_t index = -1; // -1: best is as it came in
  V lower = static_cast<V>(__builtin_inf());  // Euclidean, not squared: every other centre is at least as far away
};

// The first rows of a matrix as Filter wants them, for callers that compare them with other centres again and again.
template <class T>
class KeptRows {
 public:
  KeptRows(const Matrix<T>& X, int64_t most_bytes, int threads, Arena& arena)
      : d_(X.cols), stride_(Filter::a_stride(Filter::words(X.cols))) {
    const int64_t bytes = stride_ * static_cast<int64_t>(sizeof(typename Filter::word));
    count_ = Filter::keeps ? at_most(X.rows, most_bytes / bytes) : 0;
    words_ = arena.take<typename Filter::word>((count_ + Filter::rows) * stride_);  // a group may begin at the last row
    sqnorm_ = arena.take<float>(count_);
    lost_ = arena.take<float>(count_);
    centered_ = arena.take<float>(threads * round_up(d_, 16));
  }

  bool fill(const RowList<T>& all, const Frame<T>& frame, const Control& control, double before, double after) {
    constexpr int64_t chunk = 256;
    return parallel_for(control, (count_ + chunk - 1) / chunk, [&](int64_t item, int worker) {
      float* centered = centered_ + worker * round_up(d_, 16);
      for (int64_t i = item * chunk; i < at_most((item + 1) * chunk, count_); ++i) {
        if (i + rows_ahead < count_) prefetch_row(all[i + rows_ahead], d_);
        center_row(all[i], frame, d_, centered);
        const Stored<float> stored = Filter::words_from(centered, d_, words_ + i * stride_);
        sqnorm_[i] = stored.sqnorm;
        lost_[i] = lost_bound(stored, d_);
      }
    }, before, after);
  }

  // The group list[i0, i0 + count), ascending, in `panel` or where it lies already; nullptr if not all of it is kept.
  const typename Filter::word* group(const RowList<T>& list, int64_t i0, int64_t count, Panel<Filter>& panel) const {
    const int64_t first = list.position(i0), last = list.position(i0 + count - 1);
    if (last >= count_) return nullptr;
    panel.count = count;
    for (int64_t r = 0; r < count; ++r) {
      const int64_t i = list.position(i0 + r);
      panel.sqnorm[r] = sqnorm_[i];
      panel.lost[r] = lost_[i];
    }
    if (Filter::row_major && last - first == count - 1) return words_ + first * stride_;
    const int64_t bytes = stride_ * static_cast<int64_t>(sizeof(typename Filter::word));
    for (int64_t r = 0; r < count; ++r) prefetch(words_ + list.position(i0 + r) * stride_, bytes);
    for (int64_t r = 0; r < count; ++r) Filter::put_row(words_ + list.position(i0 + r) * stride_, r, Filter::words(d_), panel.words);
    return panel.words;
  }

 private:
  int64_t d_, stride_, count_;
  typename Filter::word* words_;
  float* sqnorm_;
  float* lost_;
  float* centered_;
};

template <class T>
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
    norm_ = arena.take<float>(round_up(room_, Filter::cols));
    products_ = arena.take<float>(threads * Filter::rows * round_up(room_, Filter::cols));
    packing_ = arena.take<typename Filter::word>(threads * pack_scratch<Filter>(d));
  }

  int64_t room() const { return room_; }

  // The centres to compare with become centers[first, first + count), count <= room().
  void set_centers(const RowList<T>& centers, int64_t first, int64_t count, const Frame<T>& frame) {
    centers_ = centers;
    first_ = first;
    most_norm_ = ratio_ = 0;
    pack<Filter, false>(centers, first, count, frame, panel_, packing_);
    for (int64_t j = 0; j < round_up(count, Filter::cols); ++j) note_center(j);
  }

  // Adds the next centre of the list; there must be room for it.
  void add_center(const Frame<T>& frame) {
    const int64_t j = panel_.count;
    append_b<Filter>(centers_[first_ + j], d_, frame, panel_, packing_);
    if (j % Filter::cols == 0)
      for (int64_t later = j + 1; later < j + Filter::cols; ++later) note_center(later);
    note_center(j);
  }

  // Compares the rows list[i0, i0 + count), count <= Filter::rows, of a list of `end` rows with the centres: found[r].best is
  // lowered to the exact distance where a centre from number from[r] on (nullptr: any centre) is nearer. With bounds_do, best may
  // also become an upper bound on the distance, where there is no doubt which centre is nearest.
  void compare(const RowList<T>& list, int64_t i0, int64_t count, int64_t end, const Frame<T>& frame, const int64_t* from,
               bool bounds_do, Found<V>* found, int worker, const KeptRows<T>* kept = nullptr) const {
    Panel<Filter>& a = a_[worker];
    const typename Filter::word* rows = kept ? kept->group(list, i0, count, a) : nullptr;
    if (!rows) {
      pack<Filter, true>(list, i0, count, frame, a, packing_ + worker * pack_scratch<Filter>(d_), end);
      rows = a.words;
    }
    int64_t begin = from ? from[0] : 0;
    for (int64_t r = 1; from && r < count; ++r) begin = at_most(begin, from[r]);
    begin = begin / Filter::cols * Filter::cols;
    const int64_t stride = round_up(panel_.count - begin, Filter::cols);
    float* products = products_ + worker * Filter::rows * round_up(room_, Filter::cols);
    const int64_t words = Filter::words(d_);
    Filter::begin();
    for (int64_t j = 0; j < stride; j += Filter::cols)
      Filter::run(rows, panel_.words + (begin + j) * words, words, products + j, stride, count);
    Filter::end();
    Shown shown[Filter::rows];
    for (int64_t r = 0; r < count; ++r) {
      const int64_t skipped = from ? (from[r] - begin) / lanes<float> * lanes<float> : 0;
      shown[r] = look_over({begin + skipped, stride - skipped, products + r * stride + skipped}, a.sqnorm[r], a.lost[r]);
      if (kept && !(bounds_do && shown[r].clear)) prefetch_row(list[i0 + r], d_);
    }
    for (int64_t r = 0; r < count; ++r) decide(list[i0 + r], shown[r], frame, bounds_do, found[r]);
  }

  // Compares the rows list[0 .. count) with all k centres. All arrays are indexed by the position of the row.
  //   best, index    in: +inf, or the outcome of other centres; lowered where a centre is nearer (index may be nullptr)
  //   lower          where given: a lower bound on the Euclidean distance to every centre but index[i]; best[i] may then be an
  //                  upper bound on the squared distance to that one
  //   before, after  how far the kernel is, for its progress
  //   kept           rows kept in the same frame; the list must ascend then
  bool run(const RowList<T>& list, int64_t count, const RowList<T>& centers, int64_t k, const Frame<T>& frame, V* best,
           int64_t* index, V* lower, const Control& control, double before = -1, double after = -1,
           const KeptRows<T>* kept = nullptr) {
    constexpr int64_t groups = 8;  // of rows, per work item
    for (int64_t k0 = 0; k0 < k; k0 += room_) {
      set_centers(centers, k0, at_most(room_, k - k0), frame);
      const auto item = [&](int64_t number, int worker) {
        const int64_t end = at_most((number + 1) * groups * Filter::rows, count);
        for (int64_t i0 = number * groups * Filter::rows; i0 < end; i0 += Filter::rows) {
          Found<V> found[Filter::rows];
          const int64_t rows = at_most(Filter::rows, end - i0);
          for (int64_t r = 0; r < rows; ++r) found[r].best = best[list.position(i0 + r)];
          compare(list, i0, rows, end, frame, nullptr, lower && k <= room_, found, worker, kept);
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
    const float norm = there ? __builtin_sqrtf(panel_.sqnorm[j]) * (1 + 0x1p-20f) : 0, lost = there ? panel_.lost[j] : 0;
    if (norm > most_norm_) most_norm_ = norm;
    low_[j] = there ? panel_.sqnorm[j] * (1 - filter_slack(d_)) : __builtin_inff();
    // This is larger than needed where a tiny |c'| would make the ratio large.
    norm_[j] = maximum(maximum(norm, most_norm_ * 0x1p-10f), lost * 0x1p8f);
    if (norm_[j] > 0 && lost / norm_[j] > ratio_) ratio_ = lost / norm_[j] * (1 + 0x1p-20f);
  }

  // Products of a row with the panel's centres from `begin` on, in whole vectors.
  struct Products {
    int64_t begin, columns;
    const float* values;
  };
  // What these products tell of the row's s_c.
  struct Shown {
    Products products;
    float sqnorm, lost, wobble;  // of the row
    int64_t looked;              // the centre whose s is lowest, at least by its lower bound
    float first, next;           // the lowest lower bound of an s, and the lowest but that
    float at_most_first;         // upper bound of s of the one looked at
    bool clear;                  // no other centre's s can be as low
  };

  vec<float> s_of(const Products& products, int64_t j) const {
    return multiply_add(load(products.values + j), splat(-2.0f), load(low_ + products.begin + j));
  }

  Shown look_over(const Products& products, float sqnorm, float lost) const {
    const float norm_x = __builtin_sqrtf(sqnorm) * (1 + 0x1p-20f);
    const float wobble =
        2 * (lost + (ratio_ + filter_slack(d_)) * (norm_x + most_norm_ * (1 + 0x1p-7f))) * (1 + 2 * ratio_) * (1 + 0x1p-18f);
    const float* norm = norm_ + products.begin;
    vec<float> smallest = splat(__builtin_inff()), second = smallest;
    vec<int32_t> place = {};
    for (int64_t j = 0; j < products.columns; j += lanes<float>) {
      const vec<float> value = multiply_add(load(norm + j), splat(-wobble), s_of(products, j));
      place = value < smallest ? static_cast<int32_t>(j) - vec<int32_t>{} : place;
      second = minimum(second, maximum(smallest, value));
      smallest = minimum(smallest, value);
    }
    Shown shown = {products, sqnorm, lost, wobble, 0, smallest_lane(smallest), 0, 0, false};
    const uint32_t at_first = lane_mask(smallest == splat(shown.first));
    const int lane = at_first ? lowest_bit(at_first) : 0;
    shown.looked = place[lane] + lane;
    if (products.begin + shown.looked >= panel_.count) shown.looked = 0;  // nothing but infinities: any centre will do
    smallest[lane] = __builtin_inff();
    shown.next = minimum(smallest_lane(smallest), smallest_lane(second));
    shown.at_most_first = shown.first + 2 * wobble * norm[shown.looked];
    // Sums of squared differences decide, and they have an error of their own.
    const float square = shown.at_most_first + norm_x * norm_x;
    if (square > 0) shown.at_most_first += 2 * static_cast<float>(sum_error<V>(d_)) * square;
    shown.clear = shown.next > shown.at_most_first;
    return shown;
  }

  void decide(const Row<T>& x, const Shown& shown, const Frame<T>& frame, bool bounds_do, Found<V>& found) const {
    const Products& products = shown.products;
    const float lost = shown.lost + panel_.max_lost, low_x = shown.sqnorm * (1 - filter_slack(d_));
    const V before = found.best;
    int64_t winner = -1;
    float limit = limit_for(found.best, frame, lost) - low_x;  // of the s that what is nearer than the best so far shows
    const auto look = [&](int64_t j) {
      const V distance = sqdist(x, centers_[first_ + products.begin + j], d_);
      if (distance < found.best || (distance == found.best && winner > j)) {
        found.best = distance;
        winner = j;
        limit = minimum(limit, limit_for(found.best, frame, lost) - low_x);
      }
    };
    const float product = products.values[shown.looked];
    const bool bounded = bounds_do && shown.clear;
    if (!(low_[products.begin + shown.looked] - product * 2 > limit)) {
      if (bounded) {
        const float sqnorm_c = panel_.sqnorm[products.begin + shown.looked];
        const float upper = distance_bounds(shown.sqnorm, sqnorm_c, product, lost, filter_slack(d_)).upper;
        found.best = static_cast<V>(upper) / frame.scale / frame.scale;
        winner = shown.looked;
      } else {
        look(shown.looked);
      }
    }
    for (int64_t j = 0; !shown.clear && j < products.columns; j += lanes<float>) {
      const vec<float> s = s_of(products, j);
      const vec<float> least = multiply_add(load(norm_ + products.begin + j), splat(-shown.wobble), s);
      uint32_t mask = lane_mask((s <= splat(limit)) & (least <= splat(shown.at_most_first)));
      for (; mask; mask &= mask - 1) {
        const int64_t column = j + lowest_bit(mask);
        if (column != shown.looked && products.begin + column < panel_.count) look(column);
      }
    }
    if (winner >= 0) found.index = first_ + products.begin + winner;
    found.lower = bound_others(shown, frame, lost, low_x, before, winner, bounded ? V(-1) : found.best);
  }

  // A lower bound on the Euclidean distance to all centres but the winner (-1: none was nearer than `before`). best: the
  // winner's squared distance where it is known exactly, else negative.
  V bound_others(const Shown& shown, const Frame<T>& frame, float lost, float low_x, V before, int64_t winner, V best) const {
    const bool follow = winner >= 0 && winner == shown.looked;  // the first is the winner's, the others' s are `next` or more
    const float s = follow ? shown.next : shown.first;
    const float near_x = __builtin_sqrtf(shown.sqnorm) * (1 - 0x1p-18f) - shown.lost;
    const float plain = s + low_x, along = s + (near_x > 0 ? near_x * near_x * (1 - 0x1p-21f) : 0);
    const float away = (plain > 0 ? __builtin_sqrtf(plain) : 0) * (1 - 0x1p-21f) - lost;
    V lower = away > 0 ? static_cast<V>(away) / frame.scale : V(0);
    if (along > 0) lower = maximum(lower, static_cast<V>(__builtin_sqrtf(along) * (1 - 0x1p-21f)) / frame.scale);
    if (follow && best >= 0) {  // as far beyond the winner as s tells
      const double scale2 = static_cast<double>(frame.scale) * static_cast<double>(frame.scale);
      const double square =
          static_cast<double>(best) * (1 - sum_error<V>(d_)) + static_cast<double>(shown.next - shown.at_most_first) / scale2;
      if (square > 0) lower = maximum(lower, static_cast<V>(__builtin_sqrt(square) * (1 - 0x1p-21)));
    }
    if (winner >= 0 && before < V(__builtin_inf()))  // the centre that won before is now one of the others
      lower = minimum(lower, distance_down(before, d_));
    return lower;
  }

  // The limit below which s + |x'|^2 leaves it possible that the sum of squares is below `best`.
  float limit_for(V best, const Frame<T>& frame, float lost) const {
    const double reach = __builtin_sqrt(static_cast<double>(best) * (1 + 2 * sum_error<V>(d_))) * static_cast<double>(frame.scale);
    return reach_bound(static_cast<float>(reach * (1 + 0x1p-22)), lost);
  }

  int64_t d_, room_;
  RowList<T> centers_ = {};
  int64_t first_ = 0;  // of the centres that are packed
  float most_norm_ = 0, ratio_ = 0;
  Panel<Filter> panel_;
  Panel<Filter>* a_;
  float* low_;   // |c'|^2, rounded down
  float* norm_;  // n_c
  float* products_;
  typename Filter::word* packing_;
};

}  // namespace
}  // namespace pyal
