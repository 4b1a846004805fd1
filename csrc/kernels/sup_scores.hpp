// SUP scores (SUPClust): how close a row lies to the other clusters, near ones counting more.
//
//   scores[i] = 1 / sum_{c != a_i} w[a_i, c] * |x_i - centers_c|      (Euclidean, not squared; a_i = assignment[i])
//   w[a] = softmax over c != a of -|centers_a - centers_c| / temperature
//
// A weighted distance of 0 gives +inf. k >= 2, temperature > 0.
//
// Numerics: |x|^2 + |c|^2 - 2<x, c> about a common origin in compute_t<T>; where the result is small against the norms,
// so that cancellation would show, the sum of squared differences instead. The weighted sum is accumulated in
// compute_t<T> per row. The weights are made in double, from sums of squared differences.
// Memory: O(n) output and (k, k) weights; the (n, k) distances never exist.
#pragma once
#include "../storage.hpp"

namespace pyal {

template <class T>
struct SupScoresParams {
  Matrix<T> X;
  const compute_t<T>* centers;  // (k, d)
  int64_t k;
  const int64_t* assignment;    // (n,) in [0, k)
  double temperature;
  compute_t<T>* scores;         // (n,) out
};

}  // namespace pyal
