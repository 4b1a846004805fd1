// Exact k nearest neighbours by squared Euclidean distance, ascending, ties to the lower position.
//
//   sqdist[i, r], positions[i, r] = r-th smallest (|x_i - x_j|^2, j) over the rows j that may be neighbours of i
//
// Who may be a neighbour: with queries, every row of X. Without, every row of X but i itself; inside the same group
// where groups are given (order, group_start); of another label where labels are given. Missing neighbours are
// (+inf, -1). Rows that stand in no group get only missing neighbours and are nobody's neighbour.
//
// Numerics: the reported distance is the sum of squared differences in compute_t<T>, never |x|^2 + |y|^2 - 2<x, y>: it
// is exactly 0 for equal rows and keeps full relative precision for near ones. Inner products (in whatever precision is
// fastest) serve only as a filter whose error is bounded, so they never decide the answer.
// Memory: a candidate list of about 3k + 36 entries per row besides the output; packed blocks per thread.
#pragma once
#include "../storage.hpp"

namespace pyal {

template <class T>
struct KnnParams {
  Matrix<T> X;
  Matrix<T> queries;           // (m, d); data == nullptr: the rows of X themselves, m = n
  int64_t k;                   // >= 1
  const int64_t* order;        // (group_start[n_groups],) positions, group by group, ascending inside; nullptr: no groups
  const int64_t* group_start;  // (n_groups + 1,) offsets into order
  int64_t n_groups;
  const int64_t* labels;       // (n,) or nullptr; given: only rows of a different label are neighbours (no queries)
  compute_t<T>* sqdist;        // (m, k) out
  int64_t* positions;          // (m, k) out
};

}  // namespace pyal
