// Recursive least squares: takes rows x of X with targets t into a fitted linear map, one after the other, in place.
//
// The state stands for all rows Z taken so far and their targets Y, in double:
//   root  (d, d), rows [0, rank): R with R'R = pinv(Z'Z)           (an inverse square root of the Gram matrix)
//   basis (d, d), rows [0, rank): orthonormal, spanning the rows of Z; nullptr where rank = d for certain
//   coef  (C, d): the minimum-norm least-squares map, coef' = pinv(Z) Y
// Of a row x, r is what is left of it orthogonal to basis (projected twice: once leaves the rounding of the first time), and
//   |r| >  doubt_high * scale: rank grows (Greville 1960): k = r / |r|^2, R -= (Rx) k', new rows k of R and r / |r| of basis
//   |r| <= doubt_low * scale, or rank = d: (Potter 1963)  h = R'Rx, a = 1 / (1 + x'h), k = a h, R -= a / (1 + sqrt(a)) (Rx) h'
// and in both cases coef += (t - coef x) k'. In between the row is not taken and the call ends there: whether it adds a
// direction is then for a factorisation of all rows to say. scale is the largest norm of a row so far, x included.
//
// Numerics: the square root in place of pinv(Z'Z) itself, as its condition is Z's and not the square of it: 1e6 there leaves
// ten right digits of coef, where updates of the Gram inverse leave six. Sums over rows of R are taken in chunks of 64 rows in
// order, so that the number of threads changes nothing. O(d^2 + d C) a row. Memory: O(d^2 / 64) scratch.
#pragma once
#include "../storage.hpp"

namespace pyal {

template <class T>
struct RecursiveLeastSquaresParams {
  Matrix<T> X;            // (m, d) rows to take
  const double* targets;  // (m, C)
  int64_t C;
  double* root;           // (d, d) in and out
  double* basis;          // (d, d) in and out, or nullptr
  double* coef;           // (C, d) in and out
  double doubt_low;
  double doubt_high;
  double* scale;          // (1,) in and out
  int64_t* counts;        // (2,) rank, in and out; rows taken, out
};

}  // namespace pyal
