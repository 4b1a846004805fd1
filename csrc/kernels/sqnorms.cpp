#include "sqnorms.hpp"

#include "../cpu/instantiate.hpp"
#include "../cpu/rows.hpp"

namespace pyal::cpu {
namespace {

template <bool scaled, class T>
double sqnorm(const Row<T>& x, int64_t d) {
  using C = compute_t<T>;
  vec<double> sums[2] = {};
  int64_t c = 0;
  for (; c + lanes<C> <= d; c += lanes<C>) {
    const vec<C> value = values<scaled>(x, c);
    if constexpr (sizeof(C) == 8) {
      sums[0] = multiply_add(value, value, sums[0]);
    } else {
      typedef float half_vec __attribute__((vector_size(vec_bytes / 2)));
      half_vec low, high;
      std::memcpy(&low, &value, sizeof(low));
      std::memcpy(&high, reinterpret_cast<const char*>(&value) + sizeof(low), sizeof(high));
      const vec<double> a = __builtin_convertvector(low, vec<double>), b = __builtin_convertvector(high, vec<double>);
      sums[0] = multiply_add(a, a, sums[0]);
      sums[1] = multiply_add(b, b, sums[1]);
    }
  }
  double total = sum_lanes<double>(sums[0] + sums[1]);
  for (; c < d; ++c) {
    const double value = static_cast<double>(x[c]);
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
      p.sqnorms[i] = x.scaled() ? sqnorm<true>(x, p.X.cols) : sqnorm<false>(x, p.X.cols);
    }
  });
}

PYAL_INSTANTIATE_KERNEL(sqnorms, SqnormsParams)

}  // namespace pyal::cpu
