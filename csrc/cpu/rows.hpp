// Arithmetic on whole rows in compute_t<T>, with one summation order: `chains` accumulators of one vector each, added up
// pairwise at the end. sqdist of one row and of four rows at a time give the same bits, so lazy and plain paths agree, and
// equal rows are at distance exactly 0.
#pragma once
#include "simd.hpp"

namespace pyal {

// What rows.cpp shares with the kernels of its instruction set, and with no others.
inline namespace PYAL_TARGET {

// A row as it is computed with: its values, widened, each times its factor. T is Any<V>.
template <class T>
struct Row {
  using V = compute_t<T>;
  const void* data;
  const V* factor;  // nullptr: none
  Storage storage;
  bool as_it_is;    // own storage and no factor

  // One value; for many, for_values.
  V operator[](int64_t c) const {
    if constexpr (sizeof(V) == 4) {
      if (storage == Storage::half) return widen(static_cast<const half*>(data)[c]) * times();
      if (storage == Storage::bfloat16) return widen(static_cast<const bfloat16*>(data)[c]) * times();
    }
    return static_cast<const V*>(data)[c] * times();
  }
  V times() const { return factor ? *factor : 1; }
  int64_t bytes_per_value() const { return storage == Storage::own ? static_cast<int64_t>(sizeof(V)) : 2; }
};

// What is summed over the columns of two rows.
struct SquaredDifference {
  template <class V>
  [[gnu::always_inline]] void operator()(V& sum, V x, V y) const {
    const V difference = y - x;  // x may stay in memory
    sum = multiply_add(difference, difference, sum);
  }
};
struct InnerProduct {
  template <class V>
  [[gnu::always_inline]] void operator()(V& sum, V x, V y) const {
    sum = multiply_add(x, y, sum);
  }
};

// The rarer rows, narrow or with factors: compiled once for all kernels (rows.cpp), and callers stay small.
template <class Sum, class T>
compute_t<T> sum_other(const Row<T>& a, const Row<T>& b, int64_t d);
template <class Sum, class T>
void sum_other4(const Matrix<T>& X, const int64_t* at, const Row<T>& b, int64_t d, compute_t<T>* out);

}  // namespace PYAL_TARGET

namespace {

#if defined(__AVX512F__)
inline constexpr int chains = 4;
#else
inline constexpr int chains = 2;  // four rows at a time must fit into 16 registers
#endif

template <class T>
inline Row<T> row(const Matrix<T>& X, int64_t i) {
  const Row<T> first = {X.data, X.factor, X.storage, !X.factor && X.storage == Storage::own};
  return {static_cast<const char*>(X.data) + i * X.cols * first.bytes_per_value(), X.factor ? X.factor + i : nullptr, X.storage,
          first.as_it_is};
}

// Values that are stored as they are computed with and have no factor, as a row and as rows.
template <class V>
inline Row<Any<V>> plain(const V* values) {
  return {values, nullptr, Storage::own, true};
}
template <class V>
inline Matrix<Any<V>> plain(const V* values, int64_t rows, int64_t cols) {
  return {values, rows, cols};
}

// f(x.data as what it points to): outside loops, so that these see one type.
template <class T, class F>
inline void with_storage(const Row<T>& x, F&& f) {
  if constexpr (sizeof(compute_t<T>) == 4) {
    if (x.storage == Storage::half) return f(static_cast<const half*>(x.data));
    if (x.storage == Storage::bfloat16) return f(static_cast<const bfloat16*>(x.data));
  }
  f(static_cast<const compute_t<T>*>(x.data));
}

// f(c, value c) for the columns [first, last), a loop that the compiler can turn into vectors.
template <class T, class F>
[[gnu::always_inline]] inline void for_values(const Row<T>& x, int64_t first, int64_t last, F&& f) {
  with_storage(x, [&](const auto* data) {
    if (!x.factor)
      for (int64_t c = first; c < last; ++c) f(c, widen(data[c]));
    else
      for (int64_t c = first; c < last; ++c) f(c, widen(data[c]) * *x.factor);
  });
}

// The values from column c on, a vector of them or the first `count`.
template <bool scaled, class S>
inline vec<compute_t<S>> values(const S* x, compute_t<S> factor, int64_t c) {
  if constexpr (scaled) return load(x + c) * factor;
  return load(x + c);
}
template <bool scaled, class S>
inline vec<compute_t<S>> values(const S* x, compute_t<S> factor, int64_t c, int64_t count) {
  if constexpr (scaled) return load_partial(x + c, count) * factor;
  return load_partial(x + c, count);
}

// How many rows ahead of the one worked on rows are asked for, where they follow each other.
inline constexpr int64_t rows_ahead = 3;

// Rows that a list names lie anywhere: asking for the next one while this one is worked on hides its way from memory.
inline void prefetch(const void* bytes, int64_t count) {
  for (int64_t at = 0; at < count; at += 64) __builtin_prefetch(static_cast<const char*>(bytes) + at, 0, 2);
}
template <class T>
inline void prefetch_row(const Row<T>& x, int64_t d) {
  prefetch(x.data, d * x.bytes_per_value());
}

// add(sum[r], a vector of row r, a vector of b) over all columns, for `count` rows against one.
template <class Sum, bool scaled, int count, class A, class B, class V = compute_t<A>>
[[gnu::always_inline]] inline void sum_rows(const A* const* a, const V* times_a, const B* b, V times_b, int64_t d, V* out) {
  constexpr int64_t width = lanes<V>;
  constexpr Sum add;
  vec<V> sums[count][chains] = {};
  int64_t c = 0;
  for (; c + chains * width <= d; c += chains * width) {
#pragma GCC unroll 8
    for (int u = 0; u < chains; ++u) {
      const vec<V> vb = values<scaled>(b, times_b, c + u * width);
#pragma GCC unroll 8
      for (int r = 0; r < count; ++r) add(sums[r][u], values<scaled>(a[r], times_a[r], c + u * width), vb);
    }
  }
#pragma GCC unroll 8
  for (int u = 0; u < chains; ++u) {
    const int64_t at = c + u * width;
    if (at + width <= d) {
      const vec<V> vb = values<scaled>(b, times_b, at);
#pragma GCC unroll 8
      for (int r = 0; r < count; ++r) add(sums[r][u], values<scaled>(a[r], times_a[r], at), vb);
    } else if (at < d) {
      const vec<V> vb = values<scaled>(b, times_b, at, d - at);
#pragma GCC unroll 8
      for (int r = 0; r < count; ++r) add(sums[r][u], values<scaled>(a[r], times_a[r], at, d - at), vb);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < count; ++r) {
    static_assert(chains == 2 || chains == 4);
    if constexpr (chains == 4)
      out[r] = sum_lanes<V>((sums[r][0] + sums[r][2]) + (sums[r][1] + sums[r][3]));
    else
      out[r] = sum_lanes<V>(sums[r][0] + sums[r][1]);
  }
}

template <class Sum, class T>
[[gnu::always_inline]] inline compute_t<T> sum_pair(const Row<T>& a, const Row<T>& b, int64_t d) {
  using V = compute_t<T>;
  if (!(a.as_it_is & b.as_it_is)) return sum_other<Sum>(a, b, d);
  const V* values = static_cast<const V*>(a.data);
  const V none = 1;
  V out;
  sum_rows<Sum, false, 1>(&values, &none, static_cast<const V*>(b.data), none, d, &out);
  return out;
}

template <class Sum, class T>
[[gnu::always_inline]] inline void sum_four(const Matrix<T>& X, const int64_t* at, const Row<T>& b, int64_t d, compute_t<T>* out) {
  using V = compute_t<T>;
  if (X.factor || X.storage != Storage::own || !b.as_it_is) return sum_other4<Sum>(X, at, b, d, out);
  const V* first = static_cast<const V*>(X.data);
  const V* values[4] = {first + at[0] * X.cols, first + at[1] * X.cols, first + at[2] * X.cols, first + at[3] * X.cols};
  constexpr V none[4] = {1, 1, 1, 1};
  sum_rows<Sum, false, 4>(values, none, static_cast<const V*>(b.data), none[0], d, out);
}

template <class T>
inline compute_t<T> sqdist(const Row<T>& a, const Row<T>& b, int64_t d) {
  return sum_pair<SquaredDifference>(a, b, d);
}
template <class T>
inline compute_t<T> dot(const Row<T>& a, const Row<T>& b, int64_t d) {
  return sum_pair<InnerProduct>(a, b, d);
}

// Four rows of a matrix, those `at` these positions, against one row.
template <class T>
inline void sqdist4(const Matrix<T>& X, const int64_t* at, const Row<T>& b, int64_t d, compute_t<T>* out) {
  sum_four<SquaredDifference>(X, at, b, d, out);
}
template <class T>
inline void dot4(const Matrix<T>& X, const int64_t* at, const Row<T>& b, int64_t d, compute_t<T>* out) {
  sum_four<InnerProduct>(X, at, b, d, out);
}

}  // namespace
}  // namespace pyal
