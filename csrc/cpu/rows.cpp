#include "rows.hpp"

namespace pyal {
inline namespace PYAL_TARGET {

namespace {

// Rows of one narrow matrix without factors: no more to find out.
template <class Sum, class S, class T>
compute_t<T> sum_narrow(const Row<T>& a, const Row<T>& b, int64_t d) {
  const S* values = static_cast<const S*>(a.data);
  const compute_t<T> none = 1;
  compute_t<T> out;
  sum_rows<Sum, false, 1>(&values, &none, static_cast<const S*>(b.data), none, d, &out);
  return out;
}
template <class Sum, class S, class T>
void sum_narrow4(const Matrix<T>& X, const int64_t* at, const Row<T>& b, int64_t d, compute_t<T>* out) {
  const S* first = static_cast<const S*>(X.data);
  const S* values[4] = {first + at[0] * X.cols, first + at[1] * X.cols, first + at[2] * X.cols, first + at[3] * X.cols};
  constexpr compute_t<T> none[4] = {1, 1, 1, 1};
  sum_rows<Sum, false, 4>(values, none, static_cast<const S*>(b.data), none[0], d, out);
}

}  // namespace

template <class Sum, class T>
compute_t<T> sum_other(const Row<T>& a, const Row<T>& b, int64_t d) {
  using V = compute_t<T>;
  if constexpr (sizeof(V) == 4) {
    if (!a.factor && !b.factor && a.storage == b.storage)
      return a.storage == Storage::half ? sum_narrow<Sum, half>(a, b, d) : sum_narrow<Sum, bfloat16>(a, b, d);
  }
  const V times_a = a.times();
  V out;
  with_storage(a, [&](const auto* stored_a) {
    with_storage(b, [&](const auto* stored_b) {
      sum_rows<Sum, true, 1>(&stored_a, &times_a, stored_b, b.times(), d, &out);
    });
  });
  return out;
}

template <class Sum, class T>
void sum_other4(const Matrix<T>& X, const int64_t* at, const Row<T>& b, int64_t d, compute_t<T>* out) {
  using V = compute_t<T>;
  if constexpr (sizeof(V) == 4) {
    if (!X.factor && !b.factor && X.storage == b.storage)
      return X.storage == Storage::half ? sum_narrow4<Sum, half>(X, at, b, d, out)
                                        : sum_narrow4<Sum, bfloat16>(X, at, b, d, out);
  }
  V times[4] = {1, 1, 1, 1};
  for (int r = 0; X.factor && r < 4; ++r) times[r] = X.factor[at[r]];
  with_storage(row(X, 0), [&]<class A>(const A* first) {
    const A* const a[4] = {first + at[0] * X.cols, first + at[1] * X.cols, first + at[2] * X.cols, first + at[3] * X.cols};
    with_storage(b, [&](const auto* stored_b) { sum_rows<Sum, true, 4>(a, times, stored_b, b.times(), d, out); });
  });
}

#define PYAL_SUM(Sum, V)                                                                    \
  template V sum_other<Sum>(const Row<Any<V>>&, const Row<Any<V>>&, int64_t);               \
  template void sum_other4<Sum>(const Matrix<Any<V>>&, const int64_t*, const Row<Any<V>>&, int64_t, V*);
PYAL_SUM(SquaredDifference, float)
PYAL_SUM(SquaredDifference, double)
PYAL_SUM(InnerProduct, float)
PYAL_SUM(InnerProduct, double)

}  // namespace PYAL_TARGET
}  // namespace pyal
