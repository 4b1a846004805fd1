// Greedy kernel coverage (MaxHerding; Bae et al. 2024). With r = |x - y| / bandwidth the kernel k(x, y) is
//
//   rbf exp(-r^2)     laplace exp(-r)     cauchy 1 / (1 + r^2)
//   student_t (1 + r^2 / beta)^(-(beta + 1) / 2), beta = 0.5
//   top_hat 1 where |x - y|^2 < bandwidth^2, strictly, else 0: the picks are those of ball_cover while they gain
//
//   m_x = max over covered rows and earlier picks s of k(x, s)      (0 while nothing is covered)
//   gain_j = (1 / n) sum_x weights_x * max(0, k(x, j) - m_x),   x over all n rows of X
//   pick = argmax over the candidates not yet picked of gain_j, ties to the lowest position
//
// All are 1 at distance 0 and fall with it, which is all that the bounds ask for; cauchy and student_t never vanish.
//
// Numerics: kernel values from sums of squared differences in compute_t<T>, gains accumulated in double. Every gain that
// decides a pick is made of such values; low-precision inner products give only upper bounds.
// A pick's gain is told as it is added up over all rows when it is picked, in double, whatever was known of it before.
// Carried (best, bounds, both or neither): m_x as the calls before this one have left it, and for every row an upper bound on
// n gain, for the same kernel, bandwidth and weights. `covered` then lists only what is new since; on return, covered rows and picks
// of this call are taken in. Picks and gains are the same as for a call that carries nothing and has everything in `covered`.
// Idea (CPU): one self-join bounds the first gains from above. Gains only fall (submodularity), and only through the
// rows whose m has risen since: a log of (x, old m, new m) lets a candidate of the largest bound catch up by just
// those, or from all rows where that is shorter. Memory: O(n), and the log is cut at n entries.
#pragma once
#include "../storage.hpp"

namespace pyal {

enum class HerdingKernel : int { rbf, laplace, cauchy, student_t, top_hat };

constexpr double student_t_beta = 0.5;

// A square that vanishes would not even cover equal rows.
constexpr double top_hat_limit(double bandwidth) {
  constexpr double least = 0x1p-1022;
  return bandwidth * bandwidth > least ? bandwidth * bandwidth : least;
}

template <class T>
struct HerdingParams {
  Matrix<T> X;
  int64_t batch_size;
  HerdingKernel kind;
  double bandwidth;         // > 0
  const double* weights;    // (n,) >= 0, or nullptr: all 1
  Positions covered;        // data == nullptr: none (size 0)
  Positions candidates;     // data == nullptr: all rows
  int64_t* positions;       // (batch_size,) out
  double* gains;            // (batch_size,) out
  compute_t<T>* best;       // (n,) in and out, 0 where nothing is covered; or nullptr
  double* bounds;           // (n,) in and out, negative: not known; or nullptr
};

}  // namespace pyal
