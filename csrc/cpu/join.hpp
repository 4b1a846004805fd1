// All pairs of rows of A and rows of B, block by block, through Filter. A self-join visits the upper triangle of blocks
// and hands every pair of rows out once (`both`), except inside an A block, which it visits as a full square.
//
// The body sees:   begin(block, worker)        before the A block meets a B block
//                  group(block, g, count, c)   products of A rows [g, g + count) with all B rows, c[r * stride + j]
//                  end(block, worker)          after the last group
#pragma once
#include "tiles.hpp"

namespace pyal {
namespace {

template <class T>
struct JoinBlock {
  RowList<T> rows, cols;
  int64_t i0, j0;     // first row and column, indices into the lists
  Panel<Filter> a, b;
  bool both;          // rows and columns are disjoint parts of one list and this is the only visit
  int64_t stride;     // of c; multiple of Filter::cols, columns beyond b.count hold 0
  float lost;         // bound on lost_i + lost_j
  float* work;        // 2 * stride floats for the body's use
};

template <class T>
class Join {
 public:
  Join(int64_t d, int64_t segments, int threads, Arena& arena)
      : d_(d), a_rows_(a_block<Filter>(d)), b_rows_(b_block<Filter>(d)), segments_(segments) {
    block_start_ = arena.take<int64_t>(segments + 1);
    a_ = arena.take<Panel<Filter>>(threads);
    b_ = arena.take<Panel<Filter>>(threads);
    for (int t = 0; t < threads; ++t) {
      const Panel<Filter> a = take_panel<Filter>(arena, a_rows_, d), b = take_panel<Filter>(arena, b_rows_, d);
      if (a_) a_[t] = a, b_[t] = b;
    }
    c_ = arena.take<float>(threads * Filter::rows * stride());
    work_ = arena.take<float>(threads * 2 * stride());
    packing_ = arena.take<typename Filter::word>(threads * pack_scratch<Filter>(d));
  }

  // Self-join inside each of the segments [start[s], start[s + 1]) of the list.
  template <class Body>
  bool run_self(const RowList<T>& list, const int64_t* start, const Frame<T>& frame, const Control& control, Body& body,
                double before, double after) {
    block_start_[0] = 0;
    for (int64_t s = 0; s < segments_; ++s)
      block_start_[s + 1] = block_start_[s] + (start[s + 1] - start[s] + a_rows_ - 1) / a_rows_;
    return parallel_for(
        control, block_start_[segments_],
        [&](int64_t item, int worker) {
          int64_t s = 0;
          for (int64_t high = segments_; high - s > 1;) {
            const int64_t middle = (s + high) / 2;
            (block_start_[middle] <= item ? s : high) = middle;
          }
          const int64_t i0 = start[s] + (item - block_start_[s]) * a_rows_;
          row_block(list, i0, at_most(i0 + a_rows_, start[s + 1]), list, i0, start[s + 1], true, frame, control, body, worker);
        },
        before, after) && !stopped_;
  }

  template <class Body>
  bool run(const RowList<T>& rows, int64_t n_rows, const RowList<T>& cols, int64_t n_cols, const Frame<T>& frame,
           const Control& control, Body& body, double before, double after) {
    return parallel_for(
        control, (n_rows + a_rows_ - 1) / a_rows_,
        [&](int64_t item, int worker) {
          const int64_t i0 = item * a_rows_;
          row_block(rows, i0, at_most(i0 + a_rows_, n_rows), cols, 0, n_cols, false, frame, control, body, worker);
        },
        before, after) && !stopped_;
  }

 private:
  int64_t stride() const { return round_up(b_rows_, Filter::cols); }

  template <class Body>
  void row_block(const RowList<T>& rows, int64_t i0, int64_t i1, const RowList<T>& cols, int64_t j0, int64_t j_end, bool self,
                 const Frame<T>& frame, const Control& control, Body& body, int worker) {
    typename Filter::word* packing = packing_ + worker * pack_scratch<Filter>(d_);
    const int64_t words = Filter::words(d_);
    float* c = c_ + worker * Filter::rows * stride();
    pack<Filter, true>(rows, i0, i1 - i0, frame, a_[worker], packing);
    // Every second row block meets its columns from the far end: threads that work side by side would else serve the same
    // columns at the same time, and wait for each other's cache lines.
    const int64_t own_end = self ? i1 : j0, n_own = (own_end - j0 + b_rows_ - 1) / b_rows_;
    const int64_t n_rest = (j_end - own_end + b_rows_ - 1) / b_rows_;
    const bool backwards = self && i0 / a_rows_ % 2 == 1;
    for (int64_t step = 0; step < n_own + n_rest; ++step) {
      // A row block of a large pool takes seconds, so its blocks of columns are where Ctrl-C is heard.
      if (worker == 0 && stop_requested(control)) __atomic_store_n(&stopped_, true, __ATOMIC_RELAXED);
      if (__atomic_load_n(&stopped_, __ATOMIC_RELAXED)) return;
      const bool own = step < n_own;
      const int64_t rest = backwards ? n_own + n_rest - 1 - step : step - n_own;
      const int64_t first = own ? j0 + step * b_rows_ : own_end + rest * b_rows_;
      const int64_t last = at_most(first + b_rows_, own ? own_end : j_end);
      pack<Filter, false>(cols, first, last - first, frame, b_[worker], packing);
      const JoinBlock<T> block = {rows, cols, i0, first, a_[worker], b_[worker], self && !own,
                                  round_up(last - first, Filter::cols), a_[worker].max_lost + b_[worker].max_lost,
                                  work_ + worker * 2 * stride()};
      body.begin(block, worker);
      Filter::begin();
      for (int64_t g = 0; g < block.a.count; g += Filter::rows) {
        multiply<Filter>(block.a.words + g * Filter::a_stride(words), block.b, words, c, block.stride);
        body.group(block, g, at_most(Filter::rows, block.a.count - g), c, worker);
      }
      Filter::end();
      body.end(block, worker);
    }
  }

  int64_t d_, a_rows_, b_rows_, segments_;
  bool stopped_ = false;
  int64_t* block_start_;
  Panel<Filter>* a_;
  Panel<Filter>* b_;
  float* c_;
  float* work_;
  typename Filter::word* packing_;
};

}  // namespace
}  // namespace pyal
