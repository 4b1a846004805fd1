// What a kernel may be given: C-contiguous rows of float, double, half or bfloat16. Arithmetic is done in
// compute_t<T>: double for double, float for the three others, which widen to it exactly. A CUDA kernel is compiled once for
// each of the four. A CPU kernel is compiled for Any<float> and Any<double>, and widens narrower values as it loads them
// (cpu/rows.hpp): the compiler has half as much to do.
#pragma once
#include <cstdint>

namespace pyal {

struct half {
  uint16_t bits;
};
struct bfloat16 {
  uint16_t bits;
};

enum class Storage : int { own, half, bfloat16 };

// A value of V, or a narrower one that is computed with as V.
template <class V>
struct Any {};

template <class T>
struct compute {
  using type = float;
};
template <class V>
struct compute<Any<V>> {
  using type = V;
};
template <>
struct compute<double> {
  using type = double;
};
template <class T>
using compute_t = typename compute<T>::type;

// With a factor, row i is what a copy would hold whose values are the products x * factor[i], each rounded once to
// compute_t<T>: bit for bit, on every path, though no copy is made. Rows at norm 1 are given so.
template <class T>
struct Matrix {
  const T* data;  // (rows, cols), row-major, no padding
  int64_t rows;
  int64_t cols;
  const compute_t<T>* factor = nullptr;  // (rows,), or nullptr: the rows as they are stored
};

// A subset of the rows of X: ascending distinct positions; data == nullptr stands for all rows in order.
template <class V>
struct Matrix<Any<V>> {
  const void* data;  // (rows, cols) values of V, or of what `storage` names, row-major, no padding
  int64_t rows;
  int64_t cols;
  const V* factor = nullptr;
  Storage storage = Storage::own;
};

struct Positions {
  const int64_t* data;
  int64_t size;
};

}  // namespace pyal

struct CUstream_st;  // cudaStream_t, so that contract headers compile without CUDA
