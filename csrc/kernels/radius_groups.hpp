// Groups of rows that chains of near pairs connect (single linkage, cut at a distance).
//
//   linked(x, y)  <=>  |x - y|^2 <= sqradius;   a group is a connected component of the graph of these links
//   first[i] = lowest position of the group of row i
//
// Numerics: |x - y|^2 is a sum of squared differences in compute_t<T>, compared with sqradius in double: at sqradius 0 equal
// rows are linked, and rows so near that the squares of their differences vanish. Low-precision inner products decide only
// pairs that their error bound leaves no doubt about.
// Idea: one self-join, and union-find as it goes; a link between rows that are known to be in one group is not looked at, so
// that many near rows cost no more than few. A root is linked to a lower one, so that the root of a group is its lowest row,
// whatever the order of the links was. Memory: O(n); the links are never stored.
#pragma once
#include "../storage.hpp"

namespace pyal {

template <class T>
struct RadiusGroupsParams {
  Matrix<T> X;
  double sqradius;  // >= 0
  int64_t* first;   // (n,) out
};

}  // namespace pyal
