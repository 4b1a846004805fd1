// Farthest-first traversal (greedy k-center; Gonzalez 1985, Sener & Savarese 2018).
//
//   m_i = min over covered rows and earlier picks c of |x_i - x_c|^2      (+inf while nothing is covered)
//   pick = argmax over the candidates not yet picked of m_i, ties to the lowest position;   sqradius = m_pick
//
// With start >= 0 the first pick is start, whatever its m; sqradius[0] is still m_start. A candidate that is also covered
// keeps m = 0. batch_size <= number of candidates.
//
// Numerics: sums of squared differences in compute_t<T>, one summation order on every path, so that equal rows are at
// exactly 0 and the lazy and the plain algorithm see the same numbers.
// Idea (CPU): m only falls, so a stale m is an upper bound. Each row keeps its m and how many centres it has seen; only
// when stale rows have the largest bounds are they compared with the centres that they have missed: a filter in low
// precision first, then sums of squares for what may be nearer than m. Exact; most rows are visited a few times in all.
// Carried (coverage): m of all n rows by what calls before this one covered. `covered` then lists only what is new since, and
// m is brought down by it for every row, a candidate or not; the picks of this call are left out, they may yet be given back.
// Memory: O(n) for bounds, and the latest picks, 2048 at most, packed for the filter.
#pragma once
#include "../storage.hpp"

namespace pyal {

template <class T>
struct KCenterGreedyParams {
  Matrix<T> X;
  int64_t batch_size;
  Positions covered;        // data == nullptr: none (size 0)
  Positions candidates;     // data == nullptr: all rows
  int64_t start;            // position of the first pick, or -1
  int64_t* positions;       // (batch_size,) out, in the order picked
  compute_t<T>* sqradius;   // (batch_size,) out
  compute_t<T>* coverage;   // (n,) in and out, +inf where nothing is covered; nullptr: nothing is carried
};

}  // namespace pyal
