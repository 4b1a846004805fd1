// Greedy maximum coverage with balls (ProbCover; Yehuda et al. 2022).
//
//   x covers y  <=>  |x - y|^2 < sqradius, strictly; every row covers itself (sqradius > 0)
//   uncovered = rows that no covered_by row and no earlier pick covers
//   pick = argmax over the candidates not yet picked of gain_x = number of uncovered rows that x covers,
//          ties to the lowest position
//
// When the best gain is 0 the remaining picks are the lowest candidates left, with gain 0: an uncovered candidate
// always has gain >= 1, so then every candidate is covered, and the caller may choose another rule for those picks.
//
// Numerics: |x - y|^2 is a sum of squared differences in compute_t<T>, compared with sqradius in double; low-precision
// inner products decide only pairs that their error bound leaves no doubt about.
// Carried (is_covered, bounds, both or neither): which rows the calls before this one have covered, and for every row an upper
// bound on its gain. `covered` then lists only what is new since; on return, covered rows and picks of this call are taken in.
// Picks and gains are the same as for a call that carries nothing and has everything in `covered`.
// Idea (CPU): one self-join counts the first gains. Gains only fall, and only by rows covered since: each candidate
// remembers how much of the list of covered rows it has accounted for and catches up only when its bound is the
// largest. Memory: O(n); the neighbourhood graph never exists.
#pragma once
#include "../storage.hpp"

namespace pyal {

template <class T>
struct BallCoverParams {
  Matrix<T> X;
  int64_t batch_size;
  double sqradius;          // > 0
  Positions covered;        // data == nullptr: none (size 0)
  Positions candidates;     // data == nullptr: all rows
  int64_t* positions;       // (batch_size,) out
  int64_t* gains;           // (batch_size,) out
  uint8_t* is_covered;      // (n,) in and out, or nullptr
  int64_t* bounds;          // (n,) in and out, -1: not known; or nullptr
};

}  // namespace pyal
