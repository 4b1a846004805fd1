// One assignment step of Lloyd's algorithm with running sums.
//
//   assignment[i] = fixed[i] where that is >= 0, else argmin_c |x_i - centers_c|^2, ties to the lower c
//   sums[c], counts[c] = sum and number of the rows assigned to c
//   sqdist[i] = |x_i - centers_assignment[i]|^2, where asked for
//
// Called again with moved[c] = Euclidean distance that centre c moved since the last call, the bounds of the last call
// (Hamerly 2010: upper[i] >= distance to the own centre, lower[i] <= distance to every other centre, Euclidean, not
// squared) let rows be skipped that provably keep their centre; sums are then changed only by the rows that changed
// centre. Scratch is then the same as in the last call, untouched: rows may be kept in it in the form that they are compared
// in. The bounds never change the answer, and a device is free to ignore them. A fixed row is never compared with
// any centre; another call may fix other rows, or the same ones to other centres.
//
// Numerics: centres are compared by sums of squared differences in compute_t<T> wherever the filter leaves a doubt. Sums
// are double, added in row order per column, hence the same for every number of threads; running sums of doubles lose
// nothing that a float centre could show.
// Memory: assignment, upper and lower (caller's), (k, d) sums and packed centres; on CPUs with bfloat16 arithmetic up to
// 256 MB of rows of 2 bytes per value.
#pragma once
#include "../storage.hpp"

namespace pyal {

template <class T>
struct KmeansAssignParams {
  Matrix<T> X;
  const compute_t<T>* centers;  // (k, d)
  int64_t k;
  const compute_t<T>* moved;    // (k,), or nullptr on the first call: assignment, bounds, sums, counts are only written
  const int64_t* fixed;         // (n,) in [-1, k), or nullptr: no row is fixed
  int64_t* assignment;          // (n,) in and out
  compute_t<T>* upper;          // (n,) in and out
  compute_t<T>* lower;          // (n,) in and out
  double* sums;                 // (k, d) in and out
  int64_t* counts;              // (k,) in and out
  compute_t<T>* sqdist;         // (n,) out, or nullptr
};

}  // namespace pyal
