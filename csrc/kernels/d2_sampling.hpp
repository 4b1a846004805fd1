// D^2 sampling: k-means++ picks (Arthur & Vassilvitskii 2007); with q the rows are the outer products g_i = q_i x X_i,
// which is BADGE (Ash et al. 2020), and no C*d vector ever exists:
//
//   |g_i - g_j|^2 = |q_i|^2 |x_i|^2 + |q_j|^2 |x_j|^2 - 2 <q_i, q_j> <x_i, x_j>,  clamped at 0;  without q |x_i - x_j|^2
//   D2_i = min over covered rows and earlier picks c of |g_i - g_c|^2;  pick i with probability D2_i / sum over candidates
//
// With importance the probability is m_i D2_i / sum over candidates, m_i = importance[i]; else m_i = 1.
//
// The rule, the same on every device and in the reference, so that one set of uniforms gives one set of picks. Weights
// w_i >= D2_i are upper bounds, seen_i says how many centres w_i has been compared with.
//  1. Nothing covered: the first pick is the candidate with the largest m_i |g_i|^2, ties to the lowest position (first =
//     largest), or the candidate number floor(first_uniform * n_candidates) in ascending order (first = uniform; with
//     importance it is drawn with u = first_uniform as in 2, from w_i = 1, and accepted as it is).
//     Then w_i = |g_i - g_first|^2 for all candidates, seen_i = 1; with q, whose norms are known, w_i = 2 (|g_i|^2 +
//     |g_first|^2), not less than that, and seen_i = 0. With covered rows w_i = D2_i, all of them seen.
//  2. Pick t, attempts a = 0 .. 31 with u = uniforms[t, 2a], v = uniforms[t, 2a + 1]:
//     rows stand in blocks of 256 candidates (ascending); S_b = sum of the m w of block b, added in order in double; total =
//     sum of the S_b in order. total = 0: take the candidate number floor(u * r) in ascending order of the r not yet picked.
//     Else target = u * total; b = first block whose inclusive running sum exceeds target (else the last block with S_b > 0);
//     i = first row of b with running sum within the block > target - sum before b (else the last row of b with m w > 0).
//     Compare x_i with the centres it has missed: d_i = D2_i. Accept i if v * w_i < d_i (old w_i): m_i stands on both sides.
//     Then w_i = d_i either way.
//  3. No attempt accepted: bring every candidate up to date and draw once more with u = uniforms[t, 64], accepted as it is.
//  4. A pick gets w = 0 and is never drawn again.
// Every accepted row has probability exactly m_i D2_i / sum m D2 (rejection sampling), and on real embeddings a pick costs a few
// row visits instead of a pass over X.
// Numerics: weights in compute_t<T>, m w in double; inner products accumulate in compute_t<T>, their combination in double
// (the three terms cancel to exactly 0 for equal rows). Memory: O(n).
#pragma once
#include "../storage.hpp"

namespace pyal {

inline constexpr int64_t d2_attempts = 32;
inline constexpr int64_t d2_uniforms = 2 * d2_attempts + 1;  // per pick
inline constexpr int64_t d2_block = 256;

enum class D2First : int { largest = 0, uniform = 1 };

template <class T>
struct D2SamplingParams {
  Matrix<T> X;
  const compute_t<T>* q;       // (n, q_cols), or nullptr
  int64_t q_cols;
  int64_t batch_size;
  Positions covered;           // data == nullptr: none (size 0)
  Positions candidates;        // data == nullptr: all rows
  D2First first;               // used only where nothing is covered
  double first_uniform;        // in [0, 1)
  const double* uniforms;      // (batch_size, d2_uniforms) in [0, 1)
  const double* importance;    // (n,) >= 0, or nullptr: all 1
  int64_t* positions;          // (batch_size,) out
};

}  // namespace pyal
