// Arithmetic on whole rows in compute_t<T>, with one summation order: `chains` accumulators of one vector each, added up
// pairwise at the end. sqdist of one row and of four rows at a time give the same bits, so lazy and plain paths agree, and
// equal rows are at distance exactly 0.
#pragma once
#include "simd.hpp"

namespace pyal {
namespace {

#if defined(__AVX512F__)
inline constexpr int chains = 4;
#else
inline constexpr int chains = 2;  // four rows at a time must fit into 16 registers
#endif

// A row as it is computed with: its values, each times `factor`. A factor of 1 changes no bit, and no time is spent on it.
template <class T>
struct Row {
  const T* data;
  compute_t<T> factor;

  bool scaled() const { return factor != 1; }
  compute_t<T> operator[](int64_t c) const { return widen(data[c]) * factor; }
};

template <class T>
inline Row<T> row(const Matrix<T>& X, int64_t i) {
  return {X.data + i * X.cols, X.factor ? X.factor[i] : 1};
}

// Values that have no factor, as a row.
template <class T>
inline Row<T> plain(const T* values) {
  return {values, 1};
}

// The values from column c on, a vector of them or the first `count`.
template <bool scaled, class T>
inline vec<compute_t<T>> values(const Row<T>& x, int64_t c) {
  if constexpr (scaled) return load(x.data + c) * x.factor;
  return load(x.data + c);
}
template <bool scaled, class T>
inline vec<compute_t<T>> values(const Row<T>& x, int64_t c, int64_t count) {
  if constexpr (scaled) return load_partial(x.data + c, count) * x.factor;
  return load_partial(x.data + c, count);
}

// How many rows ahead of the one worked on rows are asked for, where they follow each other.
inline constexpr int64_t rows_ahead = 3;

// Rows that a list names lie anywhere: asking for the next one while this one is worked on hides its way from memory.
template <class T>
inline void prefetch_row(const T* x, int64_t d) {
  const char* bytes = reinterpret_cast<const char*>(x);
  for (int64_t at = 0; at < d * static_cast<int64_t>(sizeof(T)); at += 64) __builtin_prefetch(bytes + at, 0, 2);
}

template <class T>
inline void prefetch_row(const Row<T>& x, int64_t d) {
  prefetch_row(x.data, d);
}

// accumulate(sum[r], a vector of row r, a vector of b) over all columns, for `count` rows against one.
template <bool scaled, int count, class T, class B, class Accumulate>
[[gnu::always_inline]] inline void accumulate_rows(const Row<T>* a, const Row<B>& b, int64_t d, compute_t<T>* out,
                                                   Accumulate accumulate) {
  using V = compute_t<T>;
  constexpr int64_t width = lanes<V>;
  vec<V> sums[count][chains] = {};
  int64_t c = 0;
  for (; c + chains * width <= d; c += chains * width) {
#pragma GCC unroll 8
    for (int u = 0; u < chains; ++u) {
      const vec<V> vb = values<scaled>(b, c + u * width);
#pragma GCC unroll 8
      for (int r = 0; r < count; ++r) accumulate(sums[r][u], values<scaled>(a[r], c + u * width), vb);
    }
  }
#pragma GCC unroll 8
  for (int u = 0; u < chains; ++u) {
    const int64_t at = c + u * width;
    if (at + width <= d) {
      const vec<V> vb = values<scaled>(b, at);
#pragma GCC unroll 8
      for (int r = 0; r < count; ++r) accumulate(sums[r][u], values<scaled>(a[r], at), vb);
    } else if (at < d) {
      const vec<V> vb = values<scaled>(b, at, d - at);
#pragma GCC unroll 8
      for (int r = 0; r < count; ++r) accumulate(sums[r][u], values<scaled>(a[r], at, d - at), vb);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < count; ++r) {
    for (int width_left = chains / 2; width_left > 0; width_left /= 2)
      for (int u = 0; u < width_left; ++u) sums[r][u] += sums[r][u + width_left];
    out[r] = sum_lanes<V>(sums[r][0]);
  }
}

// Out of line: rows with factors are the rarer case, and callers stay small.
template <int count, class T, class B, class Accumulate>
[[gnu::noinline]] void accumulate_scaled(const Row<T>* a, const Row<B>& b, int64_t d, compute_t<T>* out, Accumulate accumulate) {
  accumulate_rows<true, count>(a, b, d, out, accumulate);
}

template <int count, class T, class B, class Accumulate>
[[gnu::always_inline]] inline void reduce_rows(const Row<T>* a, const Row<B>& b, int64_t d, compute_t<T>* out,
                                               Accumulate accumulate) {
  bool scaled = b.scaled();
#pragma GCC unroll 8
  for (int r = 0; r < count; ++r) scaled |= a[r].scaled();
  if (scaled) return accumulate_scaled<count>(a, b, d, out, accumulate);
  accumulate_rows<false, count>(a, b, d, out, accumulate);
}

template <class T, class B>
inline compute_t<T> sqdist(const Row<T>& a, const Row<B>& b, int64_t d) {
  using V = compute_t<T>;
  V out;
  reduce_rows<1>(&a, b, d, &out, [](vec<V>& sum, vec<V> x, vec<V> y) {
    const vec<V> difference = x - y;
    sum = multiply_add(difference, difference, sum);
  });
  return out;
}

template <class T, class B>
inline void sqdist4(const Row<T>* a, const Row<B>& b, int64_t d, compute_t<T>* out) {
  using V = compute_t<T>;
  reduce_rows<4>(a, b, d, out, [](vec<V>& sum, vec<V> x, vec<V> y) {
    const vec<V> difference = x - y;
    sum = multiply_add(difference, difference, sum);
  });
}

template <class T, class B>
inline compute_t<T> dot(const Row<T>& a, const Row<B>& b, int64_t d) {
  using V = compute_t<T>;
  V out;
  reduce_rows<1>(&a, b, d, &out, [](vec<V>& sum, vec<V> x, vec<V> y) { sum = multiply_add(x, y, sum); });
  return out;
}

template <class T, class B>
inline void dot4(const Row<T>* a, const Row<B>& b, int64_t d, compute_t<T>* out) {
  using V = compute_t<T>;
  reduce_rows<4>(a, b, d, out, [](vec<V>& sum, vec<V> x, vec<V> y) { sum = multiply_add(x, y, sum); });
}

}  // namespace
}  // namespace pyal
