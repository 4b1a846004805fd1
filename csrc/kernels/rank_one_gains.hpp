// What one more row would do to a linear classifier, for every candidate at once: candidate j moves the scores of all held-out
// rows along a rank-one term, and what is asked for is how good they are then.
//
//   after_vc = scores_vc + X[j, v] errors[j, c]
//   correct[j] = the rows v with argmax_c after_vc = labels[v], ties to the lowest class
//   loss[j] = the mean over v of min(cap, log sum_c exp(scale after_vc) - scale after_v,labels[v])
//
// X[j, v] is how far candidate j moves row v, errors[j] its target less what is predicted for it. A score may be -infinity, a
// class that is not known, and stays so: a row with such a label is never correct and has the loss cap. Each row has a finite
// score. All products and sums are finite, which the caller sees to.
//
// Numerics: all in double, one multiply_add for each after_vc, from which both numbers are made; two classes that this rounding
// makes equal are tied. The largest score is taken out of the logarithm, so that no exponential overflows; exp and log are
// within a few ulps, so that a loss is off by some ulps of scale times the scores. Sums over v run in one order for each
// candidate, whatever the number of threads. Memory: the scores once more, and one row of X per thread. O(m V C).
#pragma once
#include "../storage.hpp"

namespace pyal {

template <class T>
struct RankOneGainsParams {
  Matrix<T> X;            // (m, V), no factor
  const double* errors;   // (m, C)
  const double* scores;   // (C, V), finite or -infinity
  const int64_t* labels;  // (V,) in [0, C)
  int64_t C;
  double scale;           // above 0
  double cap;             // above 0, perhaps infinite
  int64_t* correct;       // (m,) out
  double* loss;           // (m,) out
};

}  // namespace pyal
