// Kernels k(x, y) of a distance, evaluated from its square and a factor: -1 / bandwidth^2, or for top_hat the square below
// which k is 1. Values of float are made of whole vectors. All fall with the distance, also as they are rounded, exp aside.
#pragma once
#include "../kernels/herding.hpp"
#include "simd.hpp"

namespace pyal {
namespace {

template <HerdingKernel kernel>
struct OfKernel {};

// body(OfKernel<kernel>), so that the choice is made outside of a loop.
template <class Body>
[[gnu::always_inline]] inline void with_kernel(HerdingKernel kernel, Body&& body) {
  switch (kernel) {
    case HerdingKernel::rbf: return body(OfKernel<HerdingKernel::rbf>{});
    case HerdingKernel::laplace: return body(OfKernel<HerdingKernel::laplace>{});
    case HerdingKernel::cauchy: return body(OfKernel<HerdingKernel::cauchy>{});
    case HerdingKernel::student_t: return body(OfKernel<HerdingKernel::student_t>{});
    case HerdingKernel::top_hat: return body(OfKernel<HerdingKernel::top_hat>{});
  }
}

// exp(x) for x <= 0 to about 1 ulp, not below exp(-87).
inline vec<float> exponential(vec<float> x) {
  x = maximum(x, splat(-87.0f));
  const vec<float> log2 = multiply_add(x, splat(1.44269504f), splat(-0.5f));
  const vec<int32_t> whole = __builtin_convertvector(log2, vec<int32_t>);  // to nearest: x <= 0
  const vec<float> n = __builtin_convertvector(whole, vec<float>);
  const vec<float> r = multiply_add(n, splat(2.12194440e-4f), multiply_add(n, splat(-0.693359375f), x));
  constexpr float coefficients[] = {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                                    4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};
  vec<float> y = splat(coefficients[0]);
#pragma GCC unroll 5
  for (int i = 1; i < 6; ++i) y = multiply_add(y, r, splat(coefficients[i]));
  y = multiply_add(y, r * r, r) + 1.0f;
  return (vec<float>)((vec<int32_t>)y + (whole << 23));
}
inline double exponential(double x) { return __builtin_exp(x); }

inline vec<float> root(vec<float> x) { return square_root<float>(x); }
inline double root(double x) { return __builtin_sqrt(x); }

inline vec<float> one_below(vec<float> sqdist, float limit) {
  return (vec<float>)((sqdist < splat(limit)) & (vec<int32_t>)splat(1.0f));
}
inline double one_below(double sqdist, double limit) { return sqdist < limit ? 1 : 0; }

// x: a double, or a vector of floats.
template <HerdingKernel kernel, class X, class V>
[[gnu::always_inline]] inline X kernel_value(X sqdist, V factor) {
  if constexpr (kernel == HerdingKernel::top_hat) return one_below(sqdist, factor);
  const X x = sqdist * factor;
  if constexpr (kernel == HerdingKernel::rbf) return exponential(x);
  if constexpr (kernel == HerdingKernel::laplace) return exponential(-root(-x));
  if constexpr (kernel == HerdingKernel::cauchy) return V(1) / (V(1) - x);
  if constexpr (kernel == HerdingKernel::student_t) {  // to the power -3/4
    const X half = root(V(1) - x * V(1 / student_t_beta));
    return V(1) / (half * root(half));
  }
}

inline void kernel_values(HerdingKernel kernel, float* sqdist, int64_t count, float factor) {  // in place, in whole vectors
  with_kernel(kernel, [&]<HerdingKernel k>(OfKernel<k>) {
    for (int64_t i = 0; i < count; i += lanes<float>) store(sqdist + i, kernel_value<k>(load(sqdist + i), factor));
  });
}
inline void kernel_values(HerdingKernel kernel, double* sqdist, int64_t count, double factor) {
  with_kernel(kernel, [&]<HerdingKernel k>(OfKernel<k>) {
    for (int64_t i = 0; i < count; ++i) sqdist[i] = kernel_value<k>(sqdist[i], factor);
  });
}

// Finite: 0 * infinity would be NaN where rows are equal. A limit is rounded up, so that values of V below it are just those
// below the double.
template <class V>
V kernel_factor(HerdingKernel kernel, double bandwidth) {
  if (kernel == HerdingKernel::top_hat) {
    const double limit = top_hat_limit(bandwidth);
    if constexpr (sizeof(V) == 8) return limit;
    if (limit > 3e38) return __builtin_inff();
    const float near = static_cast<float>(limit);
    return static_cast<double>(near) < limit ? __builtin_nextafterf(near, __builtin_inff()) : near;
  }
  constexpr double least = sizeof(V) == 8 ? -1e308 : -3e38;
  const double factor = -1 / (bandwidth * bandwidth);
  return static_cast<V>(factor > least ? factor : least);
}

// For squared distances that are times `sqscale` and rounded to float: values are at least those of V but for a rounding.
inline float bounding_factor(HerdingKernel kernel, double bandwidth, double sqscale) {
  if (kernel == HerdingKernel::top_hat) {
    const double limit = top_hat_limit(bandwidth) * sqscale * (1 + 0x1p-19);
    return limit > 3e38 ? __builtin_inff() : limit > 1e-37 ? static_cast<float>(limit) : 1e-37f;
  }
  const double factor = -1 / (bandwidth * bandwidth) / sqscale * (1 - 0x1p-20);
  return factor > -3e38 ? static_cast<float>(factor) : -3e38f;
}

// What kernel_value<kernel> of a bounding factor may lack: what it takes for infinitely far has a value in double yet.
template <HerdingKernel kernel>
[[gnu::always_inline]] inline vec<float> bounding_value(vec<float> sqdist, float factor) {
  const vec<float> value = kernel_value<kernel>(sqdist, factor) * (1 + 0x1p-20f);
  constexpr bool heavy = kernel == HerdingKernel::cauchy || kernel == HerdingKernel::student_t;
  if constexpr (heavy) return maximum(value, splat(1e-29f));
  return value;
}

// A squared distance from which on no value, as it is rounded, is above m. It lies a little beyond the one at which the value
// is m, to make up for every rounding: 1e-4 of -log m, or of 1 / k - 1, is far more than what the values err by.
template <class V>
double sqreach(HerdingKernel kernel, V factor, double m) {
  if (kernel == HerdingKernel::top_hat) return m < 1 ? static_cast<double>(factor) * (1 + 0x1p-19) : 0;
  if (!(m > 0)) return __builtin_inf();
  const auto beyond = [](double x) { return x * (1 + 1e-4) + 1e-5; };
  double reach = 0;
  if (kernel == HerdingKernel::rbf) reach = beyond(-__builtin_log(m));
  if (kernel == HerdingKernel::laplace) reach = beyond(-__builtin_log(m)) * beyond(-__builtin_log(m));
  if (kernel == HerdingKernel::cauchy) reach = beyond(1 / m - 1);
  if (kernel == HerdingKernel::student_t) reach = beyond((1 / (m * __builtin_cbrt(m)) - 1) * student_t_beta);
  return reach / -static_cast<double>(factor);
}

}  // namespace
}  // namespace pyal
