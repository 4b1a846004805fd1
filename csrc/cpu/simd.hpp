// Vectors of the instruction set that this file is compiled for. Everything has internal linkage: the copies made for
// different instruction sets must never be merged by the linker.
#pragma once
#include <cstdint>
#include <cstring>

#include "../storage.hpp"
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace pyal {
namespace {

#if defined(__AVX512F__)
inline constexpr int vec_bytes = 64;
#elif defined(__AVX2__)
inline constexpr int vec_bytes = 32;
#else
inline constexpr int vec_bytes = 16;
#endif

template <class V>
struct VecOf {
  typedef V type __attribute__((vector_size(vec_bytes)));
  typedef V unaligned __attribute__((vector_size(vec_bytes), aligned(alignof(V)), may_alias));
};
template <class V>
using vec = typename VecOf<V>::type;
template <class V>
inline constexpr int lanes = vec_bytes / static_cast<int>(sizeof(V));

template <class V>
inline vec<V> splat(V value) {
  return value - vec<V>{};  // not +: -0.0 stays what it is
}

inline vec<float> load(const float* p) { return *reinterpret_cast<const VecOf<float>::unaligned*>(p); }
inline vec<double> load(const double* p) { return *reinterpret_cast<const VecOf<double>::unaligned*>(p); }
template <class V>
inline void store(V* p, vec<V> v) {
  *reinterpret_cast<typename VecOf<V>::unaligned*>(p) = v;
}
template <class V>
inline V minimum(V a, V b) {
  return a < b ? a : b;
}
template <class V>
inline V maximum(V a, V b) {
  return a > b ? a : b;
}

// x * y + sum: rounded once where the instruction set multiplies and adds in one instruction, else (baseline of x86) twice. The
// compiler may fuse nothing by itself (-ffp-contract=off), so that two loops over the same numbers give the same bits because
// they are written alike, whatever the optimiser makes of either.
inline float multiply_add(float x, float y, float sum) {
#if defined(__FMA__) || defined(__aarch64__)
  return __builtin_fmaf(x, y, sum);
#else
  return x * y + sum;
#endif
}
inline double multiply_add(double x, double y, double sum) {
#if defined(__FMA__) || defined(__aarch64__)
  return __builtin_fma(x, y, sum);
#else
  return x * y + sum;
#endif
}
inline vec<float> multiply_add(vec<float> x, vec<float> y, vec<float> sum) {
#if defined(__AVX512F__)
  return (vec<float>)_mm512_fmadd_ps((__m512)x, (__m512)y, (__m512)sum);
#elif defined(__FMA__)
  return (vec<float>)_mm256_fmadd_ps((__m256)x, (__m256)y, (__m256)sum);
#elif defined(__aarch64__)
  return (vec<float>)vfmaq_f32((float32x4_t)sum, (float32x4_t)x, (float32x4_t)y);
#else
  return x * y + sum;
#endif
}
inline vec<double> multiply_add(vec<double> x, vec<double> y, vec<double> sum) {
#if defined(__AVX512F__)
  return (vec<double>)_mm512_fmadd_pd((__m512d)x, (__m512d)y, (__m512d)sum);
#elif defined(__FMA__)
  return (vec<double>)_mm256_fmadd_pd((__m256d)x, (__m256d)y, (__m256d)sum);
#elif defined(__aarch64__)
  return (vec<double>)vfmaq_f64((float64x2_t)sum, (float64x2_t)x, (float64x2_t)y);
#else
  return x * y + sum;
#endif
}

inline float widen(float x) { return x; }
inline double widen(double x) { return x; }
inline float widen(bfloat16 x) {
  const uint32_t bits = static_cast<uint32_t>(x.bits) << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}
inline float widen(half x) {
  const uint32_t sign = static_cast<uint32_t>(x.bits & 0x8000u) << 16;
  const uint32_t magnitude = x.bits & 0x7fffu;
  uint32_t bits;
  if (magnitude >= 0x7c00u) {
    bits = 0x7f800000u | (magnitude & 0x3ffu) << 13;
  } else if (magnitude >= 0x400u) {
    bits = (magnitude << 13) + (112u << 23);
  } else {
    const float tiny = static_cast<float>(magnitude) * 0x1p-24f;  // subnormal half, exact
    std::memcpy(&bits, &tiny, 4);
  }
  bits |= sign;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

#if defined(__AVX512F__)
inline vec<float> load(const half* p) {
  return (vec<float>)_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline vec<float> load(const bfloat16* p) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return (vec<float>)_mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
#elif defined(__AVX2__) && defined(__F16C__)
inline vec<float> load(const half* p) {
  return (vec<float>)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline vec<float> load(const bfloat16* p) {
  const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  return (vec<float>)_mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
#else
template <class T>
inline vec<float> load(const T* p) {
  float wide[lanes<float>];
  for (int i = 0; i < lanes<float>; ++i) wide[i] = widen(p[i]);
  return load(wide);
}
#endif

// The first count < lanes elements, zeros behind them; reads nothing beyond.
template <class T>
inline vec<compute_t<T>> load_partial(const T* p, int64_t count) {
  using V = compute_t<T>;
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 8) {
    return (vec<V>)_mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << count) - 1), p);
  } else if constexpr (sizeof(T) == 4) {
    return (vec<V>)_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), p);
  } else {
    T part[lanes<V>];
    const __m256i bits = _mm256_maskz_loadu_epi16(static_cast<__mmask16>((1u << count) - 1), p);
    std::memcpy(part, &bits, sizeof(bits));
    return load(part);
  }
#else
  V wide[lanes<V>] = {};
  for (int64_t i = 0; i < count; ++i) wide[i] = widen(p[i]);
  return load(wide);
#endif
}

// Sum of the lanes in a fixed order: halves, then halves of halves.
template <class V>
inline V sum_lanes(vec<V> v) {
#if defined(__AVX512F__)
  if constexpr (sizeof(V) == 4) return _mm512_reduce_add_ps((__m512)v);
  if constexpr (sizeof(V) == 8) return _mm512_reduce_add_pd((__m512d)v);
#endif
  V part[lanes<V>];
  store(part, v);
  for (int width = lanes<V> / 2; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) part[i] += part[i + width];
  return part[0];
}

inline float smallest_lane(vec<float> v) {
#if defined(__AVX512F__)
  return _mm512_reduce_min_ps((__m512)v);
#else
  float out = v[0];
  for (int l = 1; l < lanes<float>; ++l) out = v[l] < out ? v[l] : out;
  return out;
#endif
}

template <class V>
inline vec<V> square_root(vec<V> v) {
#if defined(__AVX512F__)
  if constexpr (sizeof(V) == 4) return (vec<V>)_mm512_sqrt_ps((__m512)v);
  if constexpr (sizeof(V) == 8) return (vec<V>)_mm512_sqrt_pd((__m512d)v);
#elif defined(__AVX2__)
  if constexpr (sizeof(V) == 4) return (vec<V>)_mm256_sqrt_ps((__m256)v);
  if constexpr (sizeof(V) == 8) return (vec<V>)_mm256_sqrt_pd((__m256d)v);
#endif
  vec<V> out;
  for (int l = 0; l < lanes<V>; ++l) out[l] = sizeof(V) == 4 ? __builtin_sqrtf(v[l]) : __builtin_sqrt(v[l]);
  return out;
}

// The first half of the lanes as doubles, and the second.
inline vec<double> low_doubles(vec<float> v) {
#if defined(__AVX512F__)
  return (vec<double>)_mm512_cvtps_pd(_mm512_castps512_ps256((__m512)v));
#elif defined(__AVX2__)
  return (vec<double>)_mm256_cvtps_pd(_mm256_castps256_ps128((__m256)v));
#else
  vec<double> out;
  for (int l = 0; l < lanes<double>; ++l) out[l] = static_cast<double>(v[l]);
  return out;
#endif
}
inline vec<double> high_doubles(vec<float> v) {
#if defined(__AVX512F__)
  return (vec<double>)_mm512_cvtps_pd(_mm512_extractf32x8_ps((__m512)v, 1));
#elif defined(__AVX2__)
  return (vec<double>)_mm256_cvtps_pd(_mm256_extractf128_ps((__m256)v, 1));
#else
  vec<double> out;
  for (int l = 0; l < lanes<double>; ++l) out[l] = static_cast<double>(v[lanes<double> + l]);
  return out;
#endif
}

// Bit i set where lane i of a comparison is true. What a comparison of doubles is a vector of depends on the compiler (long,
// or long long).
template <class Mask>
inline uint32_t lane_mask(Mask comparison) {
  constexpr int size = sizeof(comparison[0]);
  static_assert(sizeof(Mask) == vec_bytes && (size == 4 || size == 8));
#if defined(__AVX512F__)
  if constexpr (size == 4) return _mm512_movepi32_mask((__m512i)comparison);
  if constexpr (size == 8) return _mm512_movepi64_mask((__m512i)comparison);
#elif defined(__AVX2__)
  if constexpr (size == 4) return static_cast<uint32_t>(_mm256_movemask_ps((__m256)comparison));
  if constexpr (size == 8) return static_cast<uint32_t>(_mm256_movemask_pd((__m256d)comparison));
#elif defined(__SSE2__)
  if constexpr (size == 4) return static_cast<uint32_t>(_mm_movemask_ps((__m128)comparison));
  if constexpr (size == 8) return static_cast<uint32_t>(_mm_movemask_pd((__m128d)comparison));
#else
  uint32_t mask = 0;
  for (int i = 0; i < vec_bytes / size; ++i) mask |= static_cast<uint32_t>(comparison[i] & 1) << i;
  return mask;
#endif
}

inline int lowest_bit(uint32_t mask) { return __builtin_ctz(mask); }

}  // namespace
}  // namespace pyal
