// The blocked pairwise engine: a block of 256 threads computes |a_i - b_j|^2 (or another sum over the columns) for a tile of
// A x a tile of B, leaves them in registers and the kernel's epilogue takes them from there; nothing is stored.
//
//   float   128 x 64 pairs, 8 x 4 a thread, slabs of 32 columns        double   64 x 64, 4 x 4, slabs of 16
//
// Thread (ty, tx) = (tid / 16, tid % 16) holds the pairs (ty * R + i, tx * S + j): the 16 threads of one ty, half a
// warp, hold all pairs of its R rows.
//
// Numerics: sums of squared differences, in one order everywhere: within a slab by column, then slab by slab (two
// levels keep the error of a float sum over thousands of columns near pairwise summation's). row_sqdists adds in
// that very order, so a distance has the same bits whichever way it was computed, and from either side.
//
// Shared memory holds a slab transposed. Two lanes load 8 consecutive columns of a row (one 32-byte sector of floats),
// a warp loads 16 rows, and with the padding its stores meet no bank twice.
#pragma once
#include "warp.cuh"

namespace pyal::cuda {

template <class C>
struct TileShape;

template <>
struct TileShape<float> {
  static constexpr int rows = 128, cols = 64, depth = 32, padding = 4;
};

template <>
struct TileShape<double> {
  static constexpr int rows = 64, cols = 64, depth = 16, padding = 2;
};

inline constexpr int tile_lanes = 16;  // threads that share a row of the tile

template <class C>
struct Tile : TileShape<C> {
  using Shape = TileShape<C>;
  static constexpr int R = Shape::rows / (threads / tile_lanes);
  static constexpr int S = Shape::cols / tile_lanes;
  static_assert(R % 4 == 0 && S == 4);

  struct alignas(16) Memory {
    C a[Shape::depth][Shape::rows + Shape::padding];
    C b[Shape::depth][Shape::cols + Shape::padding];
  };

  __device__ static int row() { return static_cast<int>(threadIdx.x) / tile_lanes * R; }
  __device__ static int col() { return static_cast<int>(threadIdx.x) % tile_lanes * S; }
};

// The row of a tile that this thread loads, the same one in every pass over a slab.
template <int count>
__device__ inline int loaded_row() {
  return static_cast<int>(threadIdx.x) / 2 % count;
}

template <int count, class T>
__device__ inline ScaledRow<T> row_to_load(const Rows<T>& from, int64_t first) {
  const int64_t i = first + loaded_row<count>();
  return i < from.size ? from.row(i) : ScaledRow<T>{};  // stored == nullptr: beyond the end
}

// read(value, column) is what the tile is made of. It gets 0 for what lies beyond the end, and must leave that 0.
struct AsStored {
  template <class C>
  __device__ C operator()(C value, int64_t) const {
    return value;
  }
};

template <int count, int depth, int stride, class C, class T, class Read = AsStored>
__device__ inline void load_slab(C (&to)[depth][stride], const ScaledRow<T>& row, int64_t column, int64_t d, bool vectorized,
                                 const Read& read = {}) {
  static_assert(threads / 2 % count == 0 && count * depth % (4 * threads) == 0);
  const int r = loaded_row<count>();
#pragma unroll
  for (int e = static_cast<int>(threadIdx.x); e < count * depth / 4; e += threads) {
    const int c = e / 2 / count * 8 + e % 2 * 4;
    Quad<compute_t<T>> four = {};
    if (row.stored) four = load4(row, column + c, d, vectorized);
#pragma unroll
    for (int u = 0; u < 4; ++u) to[c + u][r] = read(static_cast<C>(four.v[u]), column + c + u);
  }
}

__device__ inline void read4(const float* from, float* to) {
  const float4 four = *reinterpret_cast<const float4*>(from);
  to[0] = four.x, to[1] = four.y, to[2] = four.z, to[3] = four.w;
}

__device__ inline void read4(const double* from, double* to) {
  const double2 low = *reinterpret_cast<const double2*>(from), high = *reinterpret_cast<const double2*>(from + 2);
  to[0] = low.x, to[1] = low.y, to[2] = high.x, to[3] = high.y;
}

// sums[i][j] += the sum over the columns of Term(read_a(a), read_b(b)) for a_{a0 + row() + i} and b_{b0 + col() + j}. Rows
// beyond the end count as zero: the epilogue leaves them out. All threads of the block take part, and may write the memory
// again as soon as they return.
template <class Term, class C, class TA, class TB, class ReadA = AsStored, class ReadB = AsStored>
__device__ inline void add_tile_sums(const Rows<TA>& a, int64_t a0, bool a_vectorized, const Rows<TB>& b, int64_t b0,
                                     bool b_vectorized, typename Tile<C>::Memory& memory,
                                     C (&sums)[Tile<C>::R][Tile<C>::S], const ReadA& read_a = {},
                                     const ReadB& read_b = {}) {
  using Shape = Tile<C>;
  constexpr int R = Shape::R, S = Shape::S;
  const ScaledRow<TA> a_row = row_to_load<Shape::rows>(a, a0);
  const ScaledRow<TB> b_row = row_to_load<Shape::cols>(b, b0);
  for (int64_t column = 0; column < a.d; column += Shape::depth) {
    load_slab<Shape::rows>(memory.a, a_row, column, a.d, a_vectorized, read_a);
    load_slab<Shape::cols>(memory.b, b_row, column, a.d, b_vectorized, read_b);
    block_sync();
    C slab[R][S] = {};
#pragma unroll 8
    for (int c = 0; c < Shape::depth; ++c) {
      C left[R], right[S];
#pragma unroll
      for (int i = 0; i < R; i += 4) read4(&memory.a[c][Shape::row() + i], left + i);
      read4(&memory.b[c][Shape::col()], right);
#pragma unroll
      for (int i = 0; i < R; ++i)
#pragma unroll
        for (int j = 0; j < S; ++j) slab[i][j] = Term::add(left[i], right[j], slab[i][j]);
    }
#pragma unroll
    for (int i = 0; i < R; ++i)
#pragma unroll
      for (int j = 0; j < S; ++j) sums[i][j] += slab[i][j];
    block_sync();
  }
}

// sqdist[i][j] = |a_{a0 + row() + i} - b_{b0 + col() + j}|^2.
template <class TA, class TB, class C = compute_t<TA>>
__device__ inline void tile_sqdists(const Rows<TA>& a, int64_t a0, bool a_vectorized, const Rows<TB>& b, int64_t b0,
                                    bool b_vectorized, typename Tile<C>::Memory& memory,
                                    C (&sqdist)[Tile<C>::R][Tile<C>::S]) {
#pragma unroll
  for (int i = 0; i < Tile<C>::R; ++i)
#pragma unroll
    for (int j = 0; j < Tile<C>::S; ++j) sqdist[i][j] = 0;
  add_tile_sums<SquaredDifference, C>(a, a0, a_vectorized, b, b0, b_vectorized, memory, sqdist);
}

// The tile with a single b: threads 0 .. rows - 1 get |a_{a0 + tid} - b|^2, the others nothing of use.
template <class T, class C = compute_t<T>>
__device__ inline C row_sqdists(const Rows<T>& a, int64_t a0, const ScaledRow<T>& b, bool vectorized,
                                typename Tile<C>::Memory& memory) {
  using Shape = Tile<C>;
  const int tid = static_cast<int>(threadIdx.x);
  const ScaledRow<T> a_row = row_to_load<Shape::rows>(a, a0);
  C sqdist = 0;
  for (int64_t column = 0; column < a.d; column += Shape::depth) {
    load_slab<Shape::rows>(memory.a, a_row, column, a.d, vectorized);
    if (tid < Shape::depth) memory.b[tid][0] = column + tid < a.d ? b[column + tid] : C(0);
    block_sync();
    if (tid < Shape::rows) {
      C slab = 0;
#pragma unroll
      for (int c = 0; c < Shape::depth; ++c) slab = SquaredDifference::add(memory.a[c][tid], memory.b[c][0], slab);
      sqdist += slab;
    }
    block_sync();
  }
  return sqdist;
}

// Reduction over the threads that share a row of the tile: half a warp, every lane gets the result.
template <class V, class Combine>
__device__ inline V tile_row_reduce(V value, Combine combine) {
#pragma unroll
  for (int offset = tile_lanes / 2; offset > 0; offset /= 2)
    value = combine(value, lane_across(value, offset));
  return value;
}

// Into how many parts the tiles of B are divided when the tiles of A alone would leave most of the GPU idle. Sizes alone
// decide it, so scratch and the order of additions are the same on every GPU.
inline int64_t tile_splits(int64_t a_tiles, int64_t b_tiles) {
  constexpr int64_t enough_blocks = 256, most = 64;
  return clamp(ceil_div(enough_blocks, max(a_tiles, int64_t{1})), 1, clamp(b_tiles, 1, most));
}

}  // namespace pyal::cuda
