// exp and log of vectors of double, to a few ulps: those of the C library take one number at a time.
#pragma once
#include "simd.hpp"

namespace pyal {
namespace {

// log x for normal x > 0: x = 2^k m with m in [sqrt 1/2, sqrt 2), log m = 2 artanh s at s = (m - 1) / (m + 1), |s| < 0.172.
inline vec<double> logarithm(vec<double> x) {
  using Bits = vec<uint64_t>;
  constexpr uint64_t one = 0x3ff0000000000000, root_half = 0x3fe6a09e667f3bcd, two52 = 0x4330000000000000;
  const Bits bits = (Bits)x, exponent = (bits + (one - root_half)) >> 52;
  const vec<double> m = (vec<double>)(bits - ((exponent - 1023) << 52));
  const vec<double> k = (vec<double>)(exponent + two52) - (0x1p52 + 1023);
  const vec<double> s = (m - 1) / (m + 1), z = s * s;
  vec<double> series = splat(1.0 / 21);
#pragma GCC unroll 9
  for (int term = 19; term > 1; term -= 2) series = multiply_add(series, z, splat(1.0 / term));
  return multiply_add(k, splat(0x1.62e42fefa39efp-1), 2 * multiply_add(series * z, s, s));
}

// exp x for x <= 0, not below exp(-708), the last that is a normal number: x = n log 2 + r with |r| < 0.347, Taylor's series of
// r. Adding 1.5 * 2^52 rounds to an integer and leaves it in the lowest bits.
inline vec<double> exponential(vec<double> x) {
  using Bits = vec<uint64_t>;
  constexpr double to_integer = 0x1.8p52;
  x = maximum(x, splat(-708.0));
  const vec<double> shifted = multiply_add(x, splat(0x1.71547652b82fep0), splat(to_integer));
  const vec<double> n = shifted - to_integer;
  const vec<double> r = multiply_add(n, splat(-0x1.abc9e3b39803fp-56), multiply_add(n, splat(-0x1.62e42fefa39efp-1), x));
  double factorial = 479001600;  // 12!
  vec<double> series = splat(1 / factorial);
#pragma GCC unroll 12
  for (int term = 12; term > 0; --term) {
    factorial /= term;
    series = multiply_add(series, r, splat(1 / factorial));
  }
  return (vec<double>)((Bits)series + ((Bits)shifted << 52));
}

}  // namespace
}  // namespace pyal
