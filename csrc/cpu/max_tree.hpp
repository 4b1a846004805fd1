// A list of values and the first of the largest, by a tree of maxima over 64 at a time: the order in which a lazy greedy kernel
// looks at rows. Reading the largest and changing a value cost a few vectors per level.
#pragma once
#include "parallel.hpp"
#include "simd.hpp"

namespace pyal {
namespace {

template <class V>
class MaxTree {
 public:
  MaxTree(int64_t n, Arena& arena) {
    for (int64_t size = n; levels_ == 0 || size > 1; size = (size + fan - 1) / fan) {
      level_[levels_] = arena.take<V>((size + fan - 1) / fan * fan);
      size_[levels_++] = size;
    }
  }

  static V none() { return static_cast<V>(-__builtin_inf()); }
  V* values() { return level_[0]; }  // to be followed by build()
  V operator[](int64_t i) const { return level_[0][i]; }

  void build() {
    for (int l = 0; l < levels_; ++l) {
      for (int64_t i = 0; l > 0 && i < size_[l]; ++i) level_[l][i] = largest(level_[l - 1] + i * fan);
      for (int64_t i = size_[l]; i % fan != 0; ++i) level_[l][i] = none();
    }
  }

  int64_t top() const {
    const vec<V> most = splat(largest(level_[levels_ - 1]));
    int64_t at = 0;
    for (int l = levels_ - 1; l >= 0; --l) at = at * fan + first_equal(level_[l] + at * fan, most);
    return at;
  }

  void set(int64_t i, V value) {
    const V before = level_[0][i];
    level_[0][i] = value;
    for (int l = 1; l < levels_; ++l) {
      i /= fan;
      V& most = level_[l][i];
      if (value >= most)
        most = value;
      else if (before < most)
        return;
      else
        most = largest(level_[l - 1] + i * fan);
    }
  }

 private:
  static constexpr int64_t fan = 64;

  static V largest(const V* values) {
    vec<V> most = load(values);
    for (int64_t j = lanes<V>; j < fan; j += lanes<V>) most = maximum(most, load(values + j));
#if defined(__AVX512F__)
    if constexpr (sizeof(V) == 4) return _mm512_reduce_max_ps((__m512)most);
    if constexpr (sizeof(V) == 8) return _mm512_reduce_max_pd((__m512d)most);
#endif
    V out = most[0];
    for (int l = 1; l < lanes<V>; ++l) out = most[l] > out ? most[l] : out;
    return out;
  }

  static int64_t first_equal(const V* values, vec<V> wanted) {  // without a branch that nobody could predict
    uint64_t found = 0;
    for (int64_t j = 0; j < fan; j += lanes<V>) found |= static_cast<uint64_t>(lane_mask(load(values + j) == wanted)) << j;
    return found ? __builtin_ctzll(found) : 0;
  }

  int levels_ = 0;
  V* level_[11] = {};  // 64^11 is more than any list has
  int64_t size_[11] = {};
};

}  // namespace
}  // namespace pyal
