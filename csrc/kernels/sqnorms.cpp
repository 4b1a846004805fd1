#include "sqnorms.hpp"

#include "../cpu/instantiate.hpp"
#include "../cpu/rows.hpp"

namespace pyal::cpu {
namespace {

template <bool scaled, class S>
double sqnorm(const S* x, compute_t<S> factor, int64_t d) {
  using C = compute_t<S>;
  vec<double> sums[2] = {};
  int64_t c = 0;
  for (; c + lanes<C> <= d; c += lanes<C>) {
    const vec<C> value = values<scaled>(x, factor, c);
    if constexpr (sizeof(C) == 8) {
      sums[0] = multiply_add(value, value, sums[0]);
    } else {
      const vec<double> a = low_doubles(value), b = high_doubles(value);
      sums[0] = multiply_add(a, a, sums[0]);
      sums[1] = multiply_add(b, b, sums[1]);
    }
  }
  double total = sum_lanes<double>(sums[0] + sums[1]);
  for (; c < d; ++c) {
    const double value = static_cast<double>(widen(x[c]) * factor);
    total = multiply_add(value, value, total);
  }
  return total;
}

}  // namespace

template <Isa isa, class T>
int64_t sqnorms_scratch(const SqnormsParams<T>&, int) {
  return 0;
}

template <Isa isa, class T>
bool sqnorms(const SqnormsParams<T>& p, void*, const Control& control) {
  constexpr int64_t chunk = 1024;
  return parallel_for(control, (p.X.rows + chunk - 1) / chunk, [&](int64_t item, int) {
    const int64_t end = (item + 1) * chunk < p.X.rows ? (item + 1) * chunk : p.X.rows;
    for (int64_t i = item * chunk; i < end; ++i) {
      if (i + rows_ahead < end) prefetch_row(row(p.X, i + rows_ahead), p.X.cols);
      const Row<T> x = row(p.X, i);
      with_storage(x, [&](const auto* data) {
        p.sqnorms[i] = x.factor ? sqnorm<true>(data, *x.factor, p.X.cols) : sqnorm<false>(data, compute_t<T>(1), p.X.cols);
      });
    }
  });
}

PYAL_INSTANTIATE_KERNEL(sqnorms, SqnormsParams)

}  // namespace pyal::cpu
