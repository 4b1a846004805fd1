// While the join runs, first[i] is the parent of row i in a forest that all threads link and shorten without locks. A block
// begins with the roots of its columns: those of the row's own group are left out many at a time. They may have been linked
// since, which is found out for the pairs that are near.
#include "radius_groups.hpp"

#include "../cpu/instantiate.hpp"
#include "../cpu/join.hpp"

namespace pyal::cpu {
namespace {

// The root of row i. Parents only ever change to roots further up, so that what a thread reads late is a way up still.
inline int64_t root_of(int64_t* parent, int64_t i) {
  int64_t up = __atomic_load_n(parent + i, __ATOMIC_RELAXED);
  while (up != i) {
    const int64_t next = __atomic_load_n(parent + up, __ATOMIC_RELAXED);
    if (next != up) __atomic_store_n(parent + i, next, __ATOMIC_RELAXED);
    i = up;
    up = next;
  }
  return i;
}

// Makes the groups of a and b one; its root.
inline int64_t link(int64_t* parent, int64_t a, int64_t b) {
  for (;;) {
    a = root_of(parent, a);
    b = root_of(parent, b);
    if (a == b) return a;
    int64_t high = a > b ? a : b;
    const int64_t low = a > b ? b : a;
    if (__atomic_compare_exchange_n(parent + high, &high, low, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) return low;
  }
}

template <class T>
struct Layout {
  compute_t<T>* origin;
  double* mean;
  int64_t columns;  // of a block, at most
  int32_t* roots;   // (threads, columns) of the block
  Join<T> join;

  Layout(const RadiusGroupsParams<T>& p, int threads, Arena& arena)
      : origin(arena.take<compute_t<T>>(p.X.cols)),
        mean(arena.take<double>(p.X.cols)),
        columns(round_up(round_up(b_block<Filter>(p.X.cols), Filter::cols), lanes<float>)),
        roots(arena.take<int32_t>(threads * columns)),
        join(p.X.cols, 1, threads, arena) {}
};

template <class T>
struct Linker {
  const RadiusGroupsParams<T>& p;
  const Layout<T>& s;
  float inside, outside;  // the radius, scaled, rounded down and up
  float slack;

  void begin(const JoinBlock<T>& block, int worker) const {
    int32_t* roots = s.roots + worker * s.columns;
    for (int64_t j = 0; j < block.stride; ++j) {
      const bool valid = j < block.b.count;
      block.work[j] = valid ? block.b.sqnorm[j] : 0;
      roots[j] = valid ? static_cast<int32_t>(root_of(p.first, block.cols.position(block.j0 + j))) : -1;
    }
  }
  void end(const JoinBlock<T>&, int) const {}

  bool linked(int64_t i, int64_t j) const {
    return static_cast<double>(sqdist(row(p.X, i), row(p.X, j), p.X.cols)) <= p.sqradius;
  }

  void group(const JoinBlock<T>& block, int64_t g, int64_t count, const float* c, int worker) const {
    constexpr int width = lanes<float>;
    using Roots = VecOf<int32_t>;
    int32_t* roots = s.roots + worker * s.columns;
    const float near = inside - block.lost, far = outside + block.lost;
    const float sure_in = near > 0 ? near * near * (1 - 0x1p-21f) : -1, sure_out = far * far * (1 + 0x1p-21f);
    for (int64_t r = 0; r < count; ++r) {
      const int64_t i = block.rows.position(block.i0 + g + r);
      const float sq_i = block.a.sqnorm[g + r];
      int32_t root = static_cast<int32_t>(root_of(p.first, i));
      // In its own block a row meets itself, and the columns before it, which have met it. Else this is below 0.
      const int64_t own = block.i0 + g + r - block.j0;
      for (int64_t j = own < 0 ? 0 : own / width * width; j < block.b.count; j += width) {
        const vec<float> norms = load(block.work + j) + sq_i;
        const vec<float> value = multiply_add(load(c + r * block.stride + j), splat(-2.0f), norms);
        const vec<int32_t> others = (vec<int32_t>)(*reinterpret_cast<const Roots::unaligned*>(roots + j)) != splat(root);
        uint32_t possible = lane_mask((multiply_add(norms, splat(-slack), value) <= splat(sure_out)) & others);
        if (block.b.count - j < width) possible &= (1u << (block.b.count - j)) - 1;
        if (!possible) continue;
        const uint32_t sure = lane_mask(multiply_add(norms, splat(slack), value) < splat(sure_in));
        for (; possible; possible &= possible - 1) {
          const int lane = lowest_bit(possible);
          const int64_t position = block.cols.position(block.j0 + j + lane);
          if (j + lane <= own) continue;
          const bool one_group = root_of(p.first, position) == root_of(p.first, i);
          if (!one_group && !(sure >> lane & 1) && !linked(i, position)) continue;
          root = roots[j + lane] = static_cast<int32_t>(one_group ? root_of(p.first, i) : link(p.first, i, position));
        }
      }
    }
  }
};

}  // namespace

template <Isa isa, class T>
int64_t radius_groups_scratch(const RadiusGroupsParams<T>& p, int threads) {
  Arena arena(nullptr);
  Layout<T>(p, threads, arena);
  return arena.bytes();
}

template <Isa isa, class T>
bool radius_groups(const RadiusGroupsParams<T>& p, void* scratch, const Control& control) {
  Arena arena(scratch);
  Layout<T> s(p, control.threads, arena);
  const int64_t n = p.X.rows;
  const RowList<T> rows = {p.X, nullptr};
  const Frame<T> frame = make_frame(rows, n, s.origin, s.mean);
  for (int64_t i = 0; i < n; ++i) p.first[i] = i;
  const double radius = __builtin_sqrt(p.sqradius) * static_cast<double>(frame.scale);
  const double inside = radius * (1 - 0x1p-20), outside = radius * (1 + 0x1p-20);
  const Linker<T> linker = {p, s, static_cast<float>(inside), static_cast<float>(outside), filter_slack(p.X.cols)};
  const int64_t whole[2] = {0, n};
  if (!s.join.run_self(rows, whole, frame, control, linker, 0, 1)) return false;
  for (int64_t i = 0; i < n; ++i) p.first[i] = root_of(p.first, i);
  return true;
}

PYAL_INSTANTIATE_KERNEL(radius_groups, RadiusGroupsParams)

}  // namespace pyal::cpu
