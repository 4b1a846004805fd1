// Squared norm of every row: sqnorms[i] = sum_c X[i, c]^2, accumulated in double. One read of X.
//
// It is how the front door looks at the data: the norm is NaN or infinite exactly if the row holds a NaN or an
// infinity (double holds the square sum of any finite float32; a finite float64 row may overflow, the caller tells the
// two apart), and the largest and smallest positive norm say whether float32 can hold the squared distances.
#pragma once
#include "../storage.hpp"

namespace pyal {

template <class T>
struct SqnormsParams {
  Matrix<T> X;
  double* sqnorms;  // (n,) out
};

}  // namespace pyal
