// Greedy assignment of points to centres under cannot-link constraints (a pass of COP-KMeans, Wagstaff et al. 2001).
//
// Points are taken in the given order, each to the nearest feasible centre: least |x_g - centers_c|^2, ties to the
// lower c. Centre c is feasible for point g when no point that conflicts with g (listed from both sides) was put there
// before, and, for a point with a colour, when one of these holds:
//   - points of g's colour were put there before, and of no other colour;
//   - no coloured point was, and g's colour has no centre yet;
//   - no coloured point was, and more centres are without a colour than colours are without a centre.
// So every colour is kept a centre, and colours alone are always feasible where there are at most k of them. A point
// for which nothing is feasible goes to the nearest centre and is reported in relaxed: it gives a colour to no centre,
// but later points that conflict with it are kept away from it.
//
// Called again, with moved centres and the assignment of the last call, the new assignment replaces that one only where
// it is better: fewer points relaxed, or as many and a lower sum of weight * sqdist to the new centres. Greedy passes
// alone may lead Lloyd's iteration around in circles; so its objective falls until it stops.
//
// A point stands for rows that share a cluster (must-link), by their mean: sum |x - c|^2 over them is least where
// |mean - c|^2 is; weight is their number. Sqdists are sums of squared differences in compute_t<T>, all of them, with no
// filter: the points are few. The sums of weight * sqdist are double, in the given order.
// Memory: sqdists of at most 1024 points (CPU) or 4096 (CUDA) with all centres at a time, O(n + k + n_colours) besides.
#pragma once
#include "../storage.hpp"

namespace pyal {

template <class T>
struct ConstrainedAssignParams {
  Matrix<T> X;                    // (n, d) points
  const compute_t<T>* centers;    // (k, d)
  int64_t k;
  const int64_t* order;           // (n,) a permutation
  const int64_t* colour;          // (n,) in [0, n_colours), each of them there, or -1: none; or nullptr: none at all
  int64_t n_colours;
  const int64_t* conflict_start;  // (n + 1,), or nullptr: no conflicts
  const int64_t* conflicts;       // point g conflicts with conflicts[conflict_start[g] .. conflict_start[g + 1])
  const double* weight;           // (n,) > 0
  int64_t again;                  // 0: assignment and relaxed are only written
  int64_t* assignment;            // (n,) in and out
  uint8_t* relaxed;               // (n,) in and out, 0 or 1
};

}  // namespace pyal
