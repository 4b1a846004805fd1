// Held-out rows come in vectors, their scores a class after the other, so that a candidate reads them in order, from cache.
#include "rank_one_gains.hpp"

#include "../cpu/exp_log.hpp"
#include "../cpu/instantiate.hpp"
#include "../cpu/rows.hpp"

namespace pyal::cpu {
namespace {

constexpr int64_t width = lanes<double>;
constexpr int64_t at_once = 4;        // candidates that a thread takes
constexpr int64_t block = 64 * width;  // held-out rows that they all see while their scores are in cache

struct Layout {
  double* scores;  // vector by vector of held-out rows, (C, width) each
  double* own;  // of their labels
  double* labels;  // as numbers
  double* moves;  // (threads, block) of a candidate, widened

  Layout(int64_t V, int64_t C, int threads, Arena& arena) {
    const int64_t padded = (V + width - 1) / width * width;
    scores = arena.take<double>(padded * C);
    own = arena.take<double>(padded);
    labels = arena.take<double>(padded);
    moves = arena.take<double>(threads * block);
  }
};

// Behind the last row are rows of loss 0 that are never correct.
template <class T>
void pack(const RankOneGainsParams<T>& p, const Layout& s) {
  const int64_t V = p.X.cols;
  for (int64_t v = 0; v < (V + width - 1) / width * width; ++v) {
    for (int64_t c = 0; c < p.C; ++c)
      s.scores[v / width * width * p.C + c * width + v % width] = v < V ? p.scores[c * V + v] : c ? -__builtin_inf() : 0;
    s.own[v] = v < V ? p.scores[p.labels[v] * V + v] : 0;
    s.labels[v] = v < V ? static_cast<double>(p.labels[v]) : -1;
  }
}

// What a candidate has summed up so far.
struct Sums {
  vec<double> loss = {}, correct = {};
};

// The held-out rows from v on, a vector of them, for a candidate.
template <class T>
[[gnu::always_inline]] inline void add_rows(const RankOneGainsParams<T>& p, const Layout& s, int64_t v, vec<double> move,
                                            const double* errors, Sums& sums) {
  const double* scores = s.scores + v * p.C;
  vec<double> largest = multiply_add(move, splat(errors[0]), load(scores)), predicted = {};
  for (int64_t c = 1; c < p.C; ++c) {
    const vec<double> after = multiply_add(move, splat(errors[c]), load(scores + c * width));
    predicted = after > largest ? splat(static_cast<double>(c)) : predicted;
    largest = maximum(largest, after);
  }
  vec<double> total = {};
  for (int64_t c = 0; c < p.C; ++c) {
    const vec<double> after = multiply_add(move, splat(errors[c]), load(scores + c * width));
    total += exponential((after - largest) * p.scale);
  }
  double of_label[width];
  for (int64_t l = 0; l < width; ++l) of_label[l] = errors[v + l < p.X.cols ? p.labels[v + l] : 0];
  const vec<double> own = multiply_add(move, load(of_label), load(s.own + v));
  sums.loss += minimum(logarithm(total) - (own - largest) * p.scale, splat(p.cap));
  sums.correct += predicted == load(s.labels + v) ? splat(1.0) : splat(0.0);
}

}  // namespace

template <Isa isa, class T>
int64_t rank_one_gains_scratch(const RankOneGainsParams<T>& p, int threads) {
  Arena arena(nullptr);
  Layout(p.X.cols, p.C, threads, arena);
  return arena.bytes();
}

template <Isa isa, class T>
bool rank_one_gains(const RankOneGainsParams<T>& p, void* scratch, const Control& control) {
  Arena arena(scratch);
  const int64_t V = p.X.cols;
  const Layout s(V, p.C, control.threads, arena);
  pack(p, s);
  return parallel_for(control, (p.X.rows + at_once - 1) / at_once, [&](int64_t item, int worker) {
    const int64_t begin = item * at_once, count = p.X.rows - begin < at_once ? p.X.rows - begin : at_once;
    double* moves = s.moves + worker * block;
    Sums sums[at_once];
    for (int64_t first = 0; first < V; first += block) {
      const int64_t last = first + block < V ? first + block : V;
      for (int64_t j = 0; j < count; ++j) {
        for_values(row(p.X, begin + j), first, last,
                   [&](int64_t v, compute_t<T> x) { moves[v - first] = static_cast<double>(x); });
        for (int64_t v = last; v % width; ++v) moves[v - first] = 0;
        for (int64_t v = first; v < last; v += width)
          add_rows(p, s, v, load(moves + v - first), p.errors + (begin + j) * p.C, sums[j]);
      }
    }
    for (int64_t j = 0; j < count; ++j) {
      p.loss[begin + j] = sum_lanes<double>(sums[j].loss) / static_cast<double>(V);
      p.correct[begin + j] = static_cast<int64_t>(sum_lanes<double>(sums[j].correct));
    }
  }, 0, 1);
}

PYAL_INSTANTIATE_KERNEL(rank_one_gains, RankOneGainsParams)

}  // namespace pyal::cpu
