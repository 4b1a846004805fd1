// A block computes one tile of K. Of X with itself the tiles below the diagonal are left out, and every value is written to
// both of its places.
#include "../cuda/tiles.cuh"
#include "ntk.hpp"

namespace pyal::cuda {
namespace {

template <class T>
struct Sides {
  Rows<T> x, z;
  bool x_vectorized, z_vectorized;
};

template <class T>
Sides<T> sides_of(const T* x, int64_t n, const T* z, int64_t m, int64_t d) {
  return {{x, nullptr, n, d}, {z, nullptr, m, d}, vectorizable(x, d), vectorizable(z, d)};
}

template <class T>
Sides<T> inputs_of(const NtkParams<T>& p) {
  return sides_of(p.X.data, p.X.rows, p.Z.data ? p.Z.data : p.X.data, p.Z.rows, p.X.cols);
}

// The first row and column of this block's tile. Not wanted: a tile that another one mirrors.
template <class C>
struct Corner {
  int64_t row, col;
  bool wanted;

  template <class T>
  __device__ explicit Corner(const NtkParams<T>& p) {
    const int64_t across = ceil_div(p.Z.rows, Tile<C>::cols);
    row = blockIdx.x / across * Tile<C>::rows;
    col = blockIdx.x % across * Tile<C>::cols;
    wanted = p.Z.data || col + Tile<C>::cols > row;
  }
};

template <class C, class T>
unsigned tiles_of(const NtkParams<T>& p) {
  return grid_for(ceil_div(p.X.rows, Tile<C>::rows) * ceil_div(p.Z.rows, Tile<C>::cols), 1);
}

template <class T, class C, class V>
__device__ void store(const NtkParams<T>& p, const Corner<C>& corner, int i, int j, V value) {
  const int64_t row = corner.row + Tile<C>::row() + i, col = corner.col + Tile<C>::col() + j;
  if (row >= p.X.rows || col >= p.Z.rows || (!p.Z.data && col < row)) return;
  p.K[row * p.Z.rows + col] = static_cast<compute_t<T>>(value);
  if (!p.Z.data && col > row) p.K[col * p.Z.rows + row] = static_cast<compute_t<T>>(value);
}

struct Relu {
  template <class C>
  __device__ C operator()(C value, int64_t) const {
    return value > 0 ? value : C(0);
  }
};

struct Active {
  template <class C>
  __device__ C operator()(C value, int64_t) const {
    return value > 0 ? C(1) : C(0);
  }
};

template <class C>
struct ActiveWeight {
  const C* weights;
  __device__ C operator()(C value, int64_t column) const { return value > 0 ? weights[column] : C(0); }
};

template <class T>
__global__ void __launch_bounds__(threads, 2)
    ntk_empirical_kernel(NtkParams<T> p, Sides<T> inputs, Sides<compute_t<T>> hidden) {
  using C = compute_t<T>;
  using Shape = Tile<C>;
  __shared__ typename Shape::Memory memory;
  const Corner<C> corner(p);
  if (!corner.wanted) return;
  const auto add = [&]<class R, class ReadA, class ReadB>(const Sides<R>& of, C(&sums)[Shape::R][Shape::S],
                                                         const ReadA& read_x, const ReadB& read_z) {
    add_tile_sums<Product, C>(of.x, corner.row, of.x_vectorized, of.z, corner.col, of.z_vectorized, memory, sums, read_x,
                              read_z);
  };
  C values[Shape::R][Shape::S] = {};
  add(hidden, values, ActiveWeight<C>{p.output_weight}, Active{});
  {
    C products[Shape::R][Shape::S] = {};
    add(inputs, products, AsStored{}, AsStored{});
#pragma unroll
    for (int i = 0; i < Shape::R; ++i)
#pragma unroll
      for (int j = 0; j < Shape::S; ++j) values[i][j] = fma(values[i][j], products[i][j] + 1, C(1));
  }
  add(hidden, values, Relu{}, Relu{});
#pragma unroll
  for (int i = 0; i < Shape::R; ++i)
#pragma unroll
    for (int j = 0; j < Shape::S; ++j) store(p, corner, i, j, values[i][j]);
}

// What makes a row, with the bias as one more column, one of norm 1.
template <class T>
struct Unit {
  double scale, bias;

  __device__ Unit(const NtkParams<T>& p, double root)
      : scale(root > 0 ? sqrt(p.weight_variance / static_cast<double>(p.X.cols)) / root : 0),
        bias(root > 0 ? sqrt(p.bias_variance) / root : 0) {}
  __device__ double operator()(double value, int64_t) const { return value * scale; }
};

// 4 - r of two rows that point away from each other, where r has lost it.
template <class T>
__device__ double squared_sum(const Sides<T>& inputs, int64_t i, int64_t j, const Unit<T>& x, const Unit<T>& z) {
  const ScaledRow<T> left = inputs.x.row(i), right = inputs.z.row(j);
  double sum = (x.bias + z.bias) * (x.bias + z.bias);
  for (int64_t c = 0; c < inputs.x.d; ++c) {
    const double both = static_cast<double>(left[c]) * x.scale + static_cast<double>(right[c]) * z.scale;
    sum = fma(both, both, sum);
  }
  return sum < 4 ? sum : 4;
}

// k0 and k1 of a layer, and what its r would be without a bias, from r = 2 (1 - cos a) and 4 - r.
struct Arc {
  double k0, k1, next;

  __device__ Arc(double r, double opposite) {
    constexpr double pi = 3.14159265358979323846;
    const bool near = r <= opposite;
    const double nearer = near ? r : opposite, root = sqrt(nearer), cosine = 1 - nearer / 2, angle = 2 * asin(root / 2);
    const double rest = fma(-angle, cosine, root * sqrt(1 - nearer / 4)) / pi;  // (sin - a cos) / pi
    k0 = near ? 1 - angle / pi : angle / pi;
    k1 = near ? cosine + rest : rest;
    next = (near ? r : 2) - 2 * rest;
  }
};

template <class T>
__device__ double infinite(const NtkParams<T>& p, int64_t i, int64_t j, double r, double opposite) {
  const double half = p.weight_variance / 2, b = p.bias_variance;
  double x_root = p.x_roots[i], z_root = p.z_roots[j], total = x_root * z_root * (1 - r / 2);
  for (int64_t l = 1; l <= p.depth; ++l) {
    const Arc layer(r, opposite);
    const double scale = half * x_root * z_root;
    total = fma(total * half, layer.k0, fma(scale, layer.k1, b));
    const double x_next = p.x_roots[l * p.X.rows + i], z_next = p.z_roots[l * p.Z.rows + j];
    const double next = x_next * z_next, apart = x_root - z_root;
    r = next > 0 ? fma(scale, layer.next, 2 * half * b * apart * apart / (next + scale + b)) / next : 0;
    opposite = 4 - r;
    x_root = x_next;
    z_root = z_next;
  }
  return total;
}

template <class T>
__global__ void __launch_bounds__(threads, 2) ntk_infinite_kernel(NtkParams<T> p, Sides<T> inputs) {
  using Shape = Tile<double>;
  constexpr double doubtful = 0x1p-6;
  __shared__ typename Shape::Memory memory;
  const Corner<double> corner(p);
  if (!corner.wanted) return;
  double sqdist[Shape::R][Shape::S] = {};
  const int64_t loaded_x = corner.row + loaded_row<Shape::rows>(), loaded_z = corner.col + loaded_row<Shape::cols>();
  add_tile_sums<SquaredDifference, double>(inputs.x, corner.row, inputs.x_vectorized, inputs.z, corner.col,
                                           inputs.z_vectorized, memory, sqdist,
                                           Unit<T>(p, loaded_x < p.X.rows ? p.x_roots[loaded_x] : 0),
                                           Unit<T>(p, loaded_z < p.Z.rows ? p.z_roots[loaded_z] : 0));
#pragma unroll 1
  for (int i = 0; i < Shape::R; ++i)
#pragma unroll 1
    for (int j = 0; j < Shape::S; ++j) {
      const int64_t row = corner.row + Shape::row() + i, col = corner.col + Shape::col() + j;
      if (row >= p.X.rows || col >= p.Z.rows || (!p.Z.data && col < row)) continue;
      const Unit<T> x(p, p.x_roots[row]), z(p, p.z_roots[col]);
      double r = fma(x.bias - z.bias, x.bias - z.bias, sqdist[i][j]), opposite = 4 - r;
      if (opposite < doubtful) {
        opposite = squared_sum(inputs, row, col, x, z);
        r = 4 - opposite;
      }
      store(p, corner, i, j, infinite(p, row, col, r, opposite));
    }
}

}  // namespace

template <class T>
int64_t ntk_scratch(const NtkParams<T>&) {
  return 0;
}

template <class T>
void ntk(const NtkParams<T>& p, void*, CUstream_st* stream) {
  using C = compute_t<T>;
  if (p.X.rows == 0 || p.Z.rows == 0) return;
  if (p.kind == NtkKind::empirical) {
    launch(ntk_empirical_kernel<T>, tiles_of<C>(p), threads, stream, p, inputs_of(p),
           sides_of(p.x_hidden, p.X.rows, p.z_hidden, p.Z.rows, p.width));
  } else {
    launch(ntk_infinite_kernel<T>, tiles_of<double>(p), threads, stream, p, inputs_of(p));
  }
}

PYAL_INSTANTIATE_CUDA_KERNEL(ntk, NtkParams)

}  // namespace pyal::cuda
