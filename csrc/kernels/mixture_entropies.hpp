// Mean entropy of mixtures of class probabilities: what BALD and BatchBALD are made of (Kirsch et al. 2019).
//
//   entropies[i] = sum_j weights[j] H(sum_t mixtures[t, j] p_ti),   H(q) = -sum_c q_c log q_c in nats, 0 log 0 = 0
//   without mixtures:  sum_t weights[t] H(p_ti)
//
// p_ti: the probabilities of candidate i by pass t. Pass t is row t of X, and row i of the pool has `classes` columns in it: X
// is a (T, N, C) array as it lies in memory.
//
// Numerics: all in double. What is asked for are differences of such means, which are small where the passes nearly agree and
// where much is known of them. log is within a few ulps; what is below the smallest normal double, or below 0, adds nothing.
// For a row the order of all sums is fixed, so that equal rows get equal bits, wherever they stand.
// Memory: the mixtures once more, packed; blocks of 256 probabilities of every pass per thread.
#pragma once
#include "../storage.hpp"

namespace pyal {

template <class T>
struct MixtureEntropiesParams {
  Matrix<T> X;              // (passes, n * classes), no factor
  int64_t classes;
  const double* mixtures;   // (passes, m), or nullptr: each pass by itself, m = passes
  const double* weights;    // (m,)
  int64_t m;                // >= 1
  Positions candidates;     // data == nullptr: all rows
  double* entropies;        // (n,) or one for each candidate, out
};

}  // namespace pyal
