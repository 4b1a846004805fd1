#include "tiles.hpp"

namespace pyal {
inline namespace PYAL_TARGET {
namespace {

template <bool scaled, class V, class S>
void center_values(const S* x, compute_t<S> factor, const compute_t<S>* origin, compute_t<S> scale, int64_t d, V* out) {
  using C = compute_t<S>;
  int64_t c = 0;
  for (; c + lanes<C> <= d; c += lanes<C>) {
    vec<C> value = values<scaled>(x, factor, c) - load(origin + c);
    if constexpr (sizeof(C) == 8) value *= scale;
    if constexpr (sizeof(C) == sizeof(V))
      store(out + c, value);
    else
      for (int l = 0; l < lanes<C>; ++l) out[c + l] = static_cast<V>(value[l]);
  }
  for (; c < d; ++c) out[c] = static_cast<V>((widen(x[c]) * factor - origin[c]) * scale);
}

}  // namespace

template <class V, class T>
void center_row(const Row<T>& x, const Frame<T>& frame, int64_t d, V* out) {
  with_storage(x, [&](const auto* data) {
    x.factor ? center_values<true>(data, *x.factor, frame.origin, frame.scale, d, out)
             : center_values<false>(data, compute_t<T>(1), frame.origin, frame.scale, d, out);
  });
}

template <class T>
Frame<T> including(Frame<T> frame, const RowList<T>& list, int64_t count) {
  if constexpr (sizeof(compute_t<T>) == 8) {
    double largest = 0;
    for (int64_t i = 0; i < count; ++i) {
      for_values(list[i], 0, list.X.cols, [&](int64_t c, double value) {
        const double size = __builtin_fabs(value - frame.origin[c]);
        if (size > largest) largest = size;
      });
    }
    int exponent = largest > 0 ? -__builtin_ilogb(largest) : 500;
    if (exponent > 500) exponent = 500;  // the square of the scale is needed too
    const double scale = __builtin_ldexp(1.0, exponent);
    if (frame.scale == 0 || scale < frame.scale) frame.scale = scale;
  } else {
    frame.scale = 1;
  }
  return frame;
}

template <class T>
Frame<T> make_frame(const RowList<T>& list, int64_t count, compute_t<T>* origin, double* scratch) {
  using C = compute_t<T>;
  const int64_t d = list.X.cols, sample = at_most(count, 1024);
  for (int64_t c = 0; c < d; ++c) scratch[c] = 0;
  for (int64_t s = 0; s < sample; ++s)
    for_values(list[s * count / sample], 0, d, [&](int64_t c, C value) { scratch[c] += static_cast<double>(value); });
  for (int64_t c = 0; c < d; ++c) origin[c] = sample ? static_cast<C>(scratch[c] / static_cast<double>(sample)) : C(0);
  return including(Frame<T>{origin, 0}, list, count);
}

#define PYAL_FRAME(V)                                                                                    \
  template void center_row(const Row<Any<V>>&, const Frame<Any<V>>&, int64_t, float*);                   \
  template void center_row(const Row<Any<V>>&, const Frame<Any<V>>&, int64_t, double*);                  \
  template Frame<Any<V>> including(Frame<Any<V>>, const RowList<Any<V>>&, int64_t);                      \
  template Frame<Any<V>> make_frame(const RowList<Any<V>>&, int64_t, V*, double*);
PYAL_FRAME(float)
PYAL_FRAME(double)

}  // namespace PYAL_TARGET
}  // namespace pyal
