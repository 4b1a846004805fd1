// A block of rows is packed once and meets the columns block by block; the sums of a group of rows with a block of columns
// are turned into the kernel while they are in cache. Of X with itself only pairs on and above the diagonal are computed,
// and every value is written to both of its places.
#include "ntk.hpp"

#include "../cpu/instantiate.hpp"
#include "../cpu/tiles.hpp"

namespace pyal::cpu {
namespace {

// Packed rows of both sides of one worker, and what their sums go to.
template <class K>
struct Sides {
  Panel<K> rows, cols;
  typename K::acc* sums;

  Sides() = default;
  Sides(Arena& arena, int64_t n_rows, int64_t n_cols, int64_t d)
      : rows(take_panel<K>(arena, n_rows, d)),
        cols(take_panel<K>(arena, n_cols, d)),
        sums(arena.take<typename K::acc>(K::rows * round_up(n_cols, K::cols))) {}
};

template <class K>
void multiply_group(const Sides<K>& sides, int64_t g, int64_t words, int64_t stride, int64_t first) {
  multiply<K>(sides.rows.words + g * words, sides.cols, words, sides.sums, stride, first);
}

template <class T>
struct Rows {
  RowList<T> list;
  Frame<T> frame;
};

// The blocks of a pass: rows of A that a worker keeps packed (about 4 MB, and enough of them for all threads), and of B.
struct Blocks {
  int64_t rows, cols;
};
template <class K>
Blocks blocks_of(int64_t n, int64_t words, int threads) {
  const int64_t fit = (int64_t(4) << 20) / (words * static_cast<int64_t>(sizeof(typename K::word)));
  const int64_t share = (n + 4 * threads - 1) / (4 * threads);
  return {round_up(at_least(at_most(at_most(fit, 1024), share), 64), K::rows), b_block<K>(words)};
}

template <class T>
class Empirical {
 public:
  using V = compute_t<T>;
  using K = Product<V>;
  const Blocks blocks;

  Empirical(const NtkParams<T>& p, int threads, Arena& arena)
      : blocks(blocks_of<K>(p.X.rows, p.X.cols + 2 * p.width, threads)), p_(p) {
    workers_ = arena.take<Worker>(threads);
    for (int t = 0; t < threads; ++t) {
      const Worker w = {{arena, blocks.rows, blocks.cols, p.X.cols},
                        {arena, blocks.rows, blocks.cols, p.width},
                        {arena, blocks.rows, blocks.cols, p.width},
                        arena.take<V>(pack_scratch<K>(at_least(p.X.cols, p.width)))};
      if (workers_) workers_[t] = w;
    }
  }

  void pack_rows(const Rows<T>& from, int64_t first, int64_t count, int worker) {
    Worker& w = workers_[worker];
    const V* hidden = p_.x_hidden + first * p_.width;
    pack<K, true>(from.list, first, count, from.frame, w.inputs.rows, w.packing);
    pack_read<K, true>(count, p_.width, w.relu.rows, w.packing, [&](int64_t r, V* out) { relu(hidden + r * p_.width, out); });
    pack_read<K, true>(count, p_.width, w.active.rows, w.packing, [&](int64_t r, V* out) {
      const V* a = hidden + r * p_.width;
      for (int64_t c = 0; c < p_.width; ++c) out[c] = a[c] > 0 ? p_.output_weight[c] : V(0);
    });
  }

  void pack_cols(const Rows<T>& from, int64_t first, int64_t count, int worker) {
    Worker& w = workers_[worker];
    const V* hidden = p_.z_hidden + first * p_.width;
    pack<K, false>(from.list, first, count, from.frame, w.inputs.cols, w.packing);
    pack_read<K, false>(count, p_.width, w.relu.cols, w.packing, [&](int64_t r, V* out) { relu(hidden + r * p_.width, out); });
    pack_read<K, false>(count, p_.width, w.active.cols, w.packing, [&](int64_t r, V* out) {
      const V* a = hidden + r * p_.width;
      for (int64_t c = 0; c < p_.width; ++c) out[c] = a[c] > 0 ? V(1) : V(0);
    });
  }

  // values[r * stride + j] for the group of rows from g and the packed columns from `first` on.
  const V* group(int64_t g, int64_t count, int64_t, int64_t, int64_t first, int64_t stride, int worker) {
    Worker& w = workers_[worker];
    multiply_group(w.inputs, g, p_.X.cols, stride, first);
    multiply_group(w.relu, g, p_.width, stride, first);
    multiply_group(w.active, g, p_.width, stride, first);
    for (int64_t r = 0; r < count; ++r) {
      V* values = w.relu.sums + r * stride;
      const V *inputs = w.inputs.sums + r * stride, *active = w.active.sums + r * stride;
      for (int64_t j = first; j < w.inputs.cols.count; ++j) values[j] += multiply_add(active[j], inputs[j] + V(1), V(1));
    }
    return w.relu.sums;
  }

 private:
  struct Worker {
    Sides<K> inputs, relu, active;
    V* packing;
  };
  void relu(const V* a, V* out) const {
    for (int64_t c = 0; c < p_.width; ++c) out[c] = a[c] > 0 ? a[c] : V(0);
  }

  const NtkParams<T>& p_;
  Worker* workers_;
};

using Doubles = vec<double>;
constexpr double pi = 3.14159265358979323846;

// arcsin(sqrt(w)) / sqrt(w) for w in [0, 1/2]: interpolated at Chebyshev points, within 2e-17 relative before rounding.
Doubles arcsin_ratio(Doubles w) {
  constexpr double coefficients[] = {
      0x1.c751137d17be2p-1,  -0x1.a3b414e8fbd83p+1, 0x1.70821a42b32e0p+2, -0x1.8eacd96273eb1p+2, 0x1.2917a8328b8c8p+2,
      -0x1.3ed52eb63958cp+1, 0x1.0219811b2d5bap+0,  -0x1.2ffed4e682168p-2, 0x1.426bd3d739317p-4, -0x1.54fd1ff49c16fp-9,
      0x1.b03e2652d5511p-7,  0x1.c44fb258f47f6p-7,  0x1.1c7f1339913c4p-6, 0x1.6e893a3f28ea7p-6, 0x1.f1c730cb592e5p-6,
      0x1.6db6db397446bp-5,  0x1.3333333379e36p-4,  0x1.55555555552f8p-3, 1.0};
  Doubles value = splat(coefficients[0]);
#pragma GCC unroll 18
  for (int i = 1; i < 19; ++i) value = multiply_add(value, w, splat(coefficients[i]));
  return value;
}

// k0 and k1 of a layer, and what its r would be without a bias, from r = 2 (1 - cos a) and 4 - r.
struct Arc {
  Doubles k0, k1, next;
};
Arc arc(Doubles r, Doubles opposite) {
  const auto near = r <= opposite;
  const Doubles nearer = near ? r : opposite, root = square_root<double>(nearer), ratio = arcsin_ratio(nearer * 0.25);
  const Doubles cosine = 1 - nearer * 0.5, angle = root * ratio * (1 / pi);
  const Doubles rest = root * multiply_add(-ratio, cosine, square_root<double>(1 - nearer * 0.25)) * (1 / pi);  // (sin - a cos) / pi
  return {near ? 1 - angle : angle, near ? cosine + rest : rest, (near ? r : splat(2.0)) - 2 * rest};
}

template <class T>
class Infinite {
 public:
  using V = compute_t<T>;
  using K = Difference<double>;
  const Blocks blocks;

  Infinite(const NtkParams<T>& p, int threads, Arena& arena)
      : blocks(blocks_of<K>(p.X.rows, p.X.cols + 1, threads)), p_(p) {
    workers_ = arena.take<Worker>(threads);
    const int64_t columns = round_up(blocks.cols, K::cols);
    for (int t = 0; t < threads; ++t) {
      const Worker w = {{arena, blocks.rows, blocks.cols, p.X.cols + 1},
                        arena.take<double>(pack_scratch<K>(p.X.cols + 1)),
                        arena.take<double>((p.depth + 1) * columns),
                        arena.take<V>(K::rows * columns)};
      if (workers_) workers_[t] = w;
    }
  }

  void pack_rows(const Rows<T>& from, int64_t first, int64_t count, int worker) {
    Worker& w = workers_[worker];
    pack_read<K, true>(count, p_.X.cols + 1, w.sides.rows, w.packing, [&](int64_t r, double* out) {
      unit_row(from, first + r, p_.x_roots[first + r], out);
    });
  }

  void pack_cols(const Rows<T>& from, int64_t first, int64_t count, int worker) {
    Worker& w = workers_[worker];
    pack_read<K, false>(count, p_.X.cols + 1, w.sides.cols, w.packing, [&](int64_t r, double* out) {
      unit_row(from, first + r, p_.z_roots[first + r], out);
    });
    const int64_t columns = round_up(blocks.cols, K::cols);
    for (int64_t l = 0; l <= p_.depth; ++l)
      for (int64_t j = 0; j < columns; ++j) w.roots[l * columns + j] = j < count ? p_.z_roots[l * p_.Z.rows + first + j] : 0;
  }

  const V* group(int64_t g, int64_t count, int64_t i0, int64_t j0, int64_t first, int64_t stride, int worker) {
    Worker& w = workers_[worker];
    multiply_group(w.sides, g, p_.X.cols + 1, stride, first);
    for (int64_t r = 0; r < count; ++r)
      for (int64_t j = first; j < w.sides.cols.count; j += lanes<double>)
        kernel_of(i0 + g + r, j0, j, w, w.sides.sums + r * stride + j, w.values + r * stride + j);
    return w.values;
  }

 private:
  struct Worker {
    Sides<K> sides;
    double* packing;
    double* roots;  // (depth + 1, columns) of the packed columns
    V* values;
  };

  double scale(double root) const {
    return root > 0 ? __builtin_sqrt(p_.weight_variance / static_cast<double>(p_.X.cols)) / root : 0;
  }
  double bias(double root) const { return root > 0 ? __builtin_sqrt(p_.bias_variance) / root : 0; }

  // The row with the bias as its last column, of norm 1.
  void unit_row(const Rows<T>& from, int64_t i, double root, double* out) const {
    const double factor = scale(root);
    center_row(from.list[i], from.frame, p_.X.cols, out);
    for (int64_t c = 0; c < p_.X.cols; ++c) out[c] *= factor;
    out[p_.X.cols] = bias(root);
  }

  // 4 - r of two rows that point away from each other, where r has lost it.
  double squared_sum(int64_t i, int64_t j) const {
    const Row<T> x = row(p_.X, i), z = row(p_.Z.data ? p_.Z : p_.X, j);
    const double x_root = p_.x_roots[i], z_root = p_.z_roots[j], x_scale = scale(x_root), z_scale = scale(z_root);
    const double last = bias(x_root) + bias(z_root);
    double sum = last * last;
    for (int64_t c = 0; c < p_.X.cols; ++c) {
      const double both = static_cast<double>(x[c]) * x_scale + static_cast<double>(z[c]) * z_scale;
      sum = multiply_add(both, both, sum);
    }
    return sum < 4 ? sum : 4;
  }

  // The kernel of row i and a vector of packed columns from j0 + j, whose r are in sums.
  void kernel_of(int64_t i, int64_t j0, int64_t j, const Worker& w, double* sums, V* values) const {
    constexpr double doubtful = 0x1p-6;
    const int64_t columns = round_up(blocks.cols, K::cols);
    Doubles r = load(sums), opposite = 4 - r;
    if (lane_mask(opposite < splat(doubtful))) {
      for (int l = 0; l < lanes<double>; ++l) {
        if (!(opposite[l] < doubtful) || j + l >= w.sides.cols.count) continue;
        opposite[l] = squared_sum(i, j0 + j + l);
        r[l] = 4 - opposite[l];
      }
    }
    const double half = p_.weight_variance / 2, b = p_.bias_variance;
    double x_root = p_.x_roots[i];
    Doubles z_root = load(w.roots + j), total = x_root * z_root * (1 - r * 0.5);
    for (int64_t l = 1; l <= p_.depth; ++l) {
      const Arc layer = arc(r, opposite);
      const Doubles scale = half * x_root * z_root;
      total = multiply_add(total * half, layer.k0, multiply_add(scale, layer.k1, splat(b)));
      const double x_next = p_.x_roots[l * p_.X.rows + i];
      const Doubles z_next = load(w.roots + l * columns + j), next = x_next * z_next, apart = x_root - z_root;
      const Doubles above = multiply_add(scale, layer.next, 2 * half * b * apart * apart / (next + scale + b));
      r = next > splat(0.0) ? above / next : splat(0.0);
      opposite = 4 - r;
      x_root = x_next;
      z_root = z_next;
    }
    for (int l = 0; l < lanes<double>; ++l) values[l] = static_cast<V>(total[l]);
  }

  const NtkParams<T>& p_;
  Worker* workers_;
};

// The values of rows [i, i + count) and columns [j0 + first, j0 + columns), into K and, of X with itself, mirrored.
template <class T>
void write(const NtkParams<T>& p, int64_t i, int64_t count, int64_t j0, int64_t first, int64_t columns,
           const compute_t<T>* values, int64_t stride) {
  using V = compute_t<T>;
  for (int64_t r = 0; r < count; ++r) {
    const int64_t from = p.Z.data ? 0 : at_least(first, i + r - j0);
    if (from < columns)
      std::memcpy(p.K + (i + r) * p.Z.rows + j0 + from, values + r * stride + from, static_cast<size_t>(columns - from) * sizeof(V));
  }
  if (p.Z.data) return;
  for (int64_t j = first; j < columns; ++j) {
    const int64_t above = at_most(count, j0 + j - i);
    for (int64_t r = 0; r < above; ++r) p.K[(j0 + j) * p.Z.rows + i + r] = values[r * stride + j];
  }
}

template <class Kind, class T>
bool fill(const NtkParams<T>& p, Arena& arena, const Control& control) {
  using V = compute_t<T>;
  using K = typename Kind::K;
  Kind kind(p, control.threads, arena);
  V* origin = arena.take<V>(p.X.cols);
  for (int64_t c = 0; c < p.X.cols; ++c) origin[c] = 0;
  const Rows<T> rows = {{p.X, nullptr}, {origin, 1}};
  const Rows<T> cols = {{p.Z.data ? p.Z : p.X, nullptr}, {origin, 1}};
  const int64_t stride = round_up(kind.blocks.cols, K::cols);
  bool stopped = false;
  const auto row_block = [&](int64_t item, int worker) {
    const int64_t i0 = item * kind.blocks.rows, count = at_most(kind.blocks.rows, p.X.rows - i0);
    kind.pack_rows(rows, i0, count, worker);
    for (int64_t j0 = p.Z.data ? 0 : i0; j0 < p.Z.rows; j0 += kind.blocks.cols) {
      // A row block of a large pool takes seconds, so its blocks of columns are where Ctrl-C is heard.
      if (worker == 0 && stop_requested(control)) __atomic_store_n(&stopped, true, __ATOMIC_RELAXED);
      if (__atomic_load_n(&stopped, __ATOMIC_RELAXED)) return;
      const int64_t columns = at_most(kind.blocks.cols, p.Z.rows - j0);
      kind.pack_cols(cols, j0, columns, worker);
      for (int64_t g = 0; g < count; g += K::rows) {
        const int64_t left = p.Z.data ? 0 : at_least(i0 + g - j0, 0) / K::cols * K::cols, some = at_most(K::rows, count - g);
        if (left >= columns) break;
        const V* values = kind.group(g, some, i0, j0, left, stride, worker);
        write(p, i0 + g, some, j0, left, columns, values, stride);
      }
    }
  };
  return parallel_for(control, (p.X.rows + kind.blocks.rows - 1) / kind.blocks.rows, row_block, 0, 1) && !stopped;
}

}  // namespace

template <Isa isa, class T>
int64_t ntk_scratch(const NtkParams<T>& p, int threads) {
  Arena arena(nullptr);
  if (p.kind == NtkKind::empirical)
    Empirical<T>(p, threads, arena);
  else
    Infinite<T>(p, threads, arena);
  arena.take<compute_t<T>>(p.X.cols);
  return arena.bytes();
}

template <Isa isa, class T>
bool ntk(const NtkParams<T>& p, void* scratch, const Control& control) {
  Arena arena(scratch);
  return p.kind == NtkKind::empirical ? fill<Empirical<T>>(p, arena, control) : fill<Infinite<T>>(p, arena, control);
}

PYAL_INSTANTIATE_KERNEL(ntk, NtkParams)

}  // namespace pyal::cpu
