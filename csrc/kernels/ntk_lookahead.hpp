// NTK look-ahead (Mohamadi et al. 2022; NTKCPL, Wen et al. 2024): what the closed form f = K (K_LL + ridge I)^-1 Y would predict
// for all n rows after one more row j had been learned with label y_j, for every candidate j at once, greedily.
//
//   R = posterior kernel, symmetric positive semidefinite (here the matrix X, n x n); f = (n, classes) predictions
//   s_xj = R_xj / (R_jj + ridge),   D_j = onehot(y_j) - f_j,   f+_x = f_x + s_xj D_j         (exact, rank one)
//   y_j = labels[j], or argmax f_j where that is -1;   t_x = targets[x], or argmax f_x where that is -1
//   risk            number of x with argmax f+_x != t_x                     least;    ties: least soft risk
//   agreement       number of x with argmax f+_x == argmax f_x              least;    ties: largest output change
//   soft_risk       sum_x (1 - f+_x[t_x])^2                                 least
//   output_change   sum_x |f+_x - f_x|_2                                    largest
//   expected_risk   sum_x (1 - max_c P(f+_x)_c), P: projection on the simplex   least
// All rows count, x = j among them. First the rows `labeled` are learned in their order, then batch_size times the best candidate:
//   u = R_:j / sqrt(R_jj + ridge),   R <- R - u u^T,   f <- f + u D_j^T / sqrt(R_jj + ridge).
// Last ties go to the lowest position; so does the argmax over classes. A candidate with R_jj + ridge <= determined *
// (R_jj before anything was learned + ridge) is determined by what has been learned: s_xj = 0, it changes nothing.
//
// Numerics. What is carried from pick to pick is double: each u comes from the row of the given R and all earlier u, in double,
// so that neither u, f nor the diagonal drift. Scores are computed in compute_t<T> from a working copy of R, which takes `pending`
// picks at once (until then they are subtracted on the fly, so a pick costs one read of R and a write every `pending` picks)
// and is made again in double from R and all u every `refresh` picks.
// Pruning: where s_xj (D_jc - D_jp) stays below the margin of row x for every class c but the label y_j, only y_j can overtake the
// predicted class p, and one comparison tells; else p, y_j and t_x decide against a bound on all others; only what is
// still open looks at every class.
// Memory: 8 n (learned + picked) + O(n classes) bytes, and n^2 compute_t<T> where more than `pending` rows are learned.
#pragma once
#include "../storage.hpp"

namespace pyal {

enum class LookaheadObjective : int { risk = 0, agreement = 1, soft_risk = 2, output_change = 3, expected_risk = 4 };

inline constexpr int64_t lookahead_pending = 8;
inline constexpr int64_t lookahead_refresh = 64;

// Below this share of its first value R_jj + ridge is rounding in compute_t<T>.
template <class T>
inline constexpr double lookahead_determined = 0x1p-16;
template <>
inline constexpr double lookahead_determined<double> = 0x1p-44;

template <class T>
struct NtkLookaheadParams {
  Matrix<T> R;              // (n, n)
  const double* f;          // (n, classes)
  int64_t classes;          // >= 1
  const int64_t* labels;    // (n,) class, or -1; never -1 at a row of `labeled`
  const int64_t* targets;   // (n,) class, or -1
  Positions labeled;        // learned first; data == nullptr: none (size 0)
  Positions candidates;     // data == nullptr: all rows
  int64_t batch_size;       // at most the candidates; 0: only scores
  LookaheadObjective objective;
  double ridge;             // > 0
  int64_t* positions;       // (batch_size,) out
  double* objectives;       // (batch_size,) out: of the pick, after it
  double* scores;           // (n,) out: of every candidate before the first pick; not written elsewhere
  int64_t* indefinite;      // (1,) out: a row at which R turned out not to be positive semidefinite, or -1
};

}  // namespace pyal
