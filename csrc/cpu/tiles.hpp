// The blocked pairwise engine: packed rows of A times packed rows of B, a group of A rows at a time, into a small block of
// inner products that an epilogue reads while it is in L1/L2. The n x m matrix never exists.
//
// Two uses. Product<V> computes in V and its products are answers. Filter computes in the fastest arithmetic of the
// instruction set (AMX or AVX512-BF16 tiles, else float) and gives bounds only:
//
// Rows are taken about a common origin and scaled by a power of two, a = (x - origin) * scale, then stored as a'. With
// e >= |a - a'| per row, the distance of two rows differs from their stored forms' by at most e_i + e_j (triangle
// inequality), and the computed |a'_i|^2 + |a'_j|^2 - 2 <a'_i, a'_j> differs from its exact value by at most
// slack * (|a'_i|^2 + |a'_j|^2). Both together give rigorous bounds on the true distance: reach_bound, distance_bounds.
#pragma once
#include "parallel.hpp"
#include "rows.hpp"

namespace pyal {

// What frames.cpp shares with the kernels of its instruction set.
inline namespace PYAL_TARGET {

template <class T>
struct Frame {
  const compute_t<T>* origin;  // (d,)
  compute_t<T> scale;          // a power of two; 1 for everything but double
};

// Rows of a matrix, all or those listed.
template <class T>
struct RowList {
  Matrix<T> X;
  const int64_t* order;  // nullptr: row i itself
  Row<T> operator[](int64_t i) const { return row(X, order ? order[i] : i); }
  int64_t position(int64_t i) const { return order ? order[i] : i; }
};

// The row about the frame's origin, scaled.
template <class V, class T>
void center_row(const Row<T>& x, const Frame<T>& frame, int64_t d, V* out);

// The frame with a scale that also brings these rows into the range of float. Not needed for float rows, whose squared
// norms float holds: the scale of a frame is 1, but for double.
template <class T>
Frame<T> including(Frame<T> frame, const RowList<T>& list, int64_t count);

// Origin of a frame: the mean of at most 1024 rows spread over the list. Any point would do; near the mean the norms, and so the
// error bounds, are smallest.
template <class T>
Frame<T> make_frame(const RowList<T>& list, int64_t count, compute_t<T>* origin, double* scratch);

}  // namespace PYAL_TARGET

namespace {

inline int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }
inline int64_t at_most(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t at_least(int64_t a, int64_t b) { return a > b ? a : b; }

// ---- microkernels: C (rows x cols) = A group * B group over all words ------------------------------------------------
//
// run(a, b, words, c, stride, count): where only the first `count` rows are asked for, up to `few` of them cost less.

// What a row became: squared norm of the stored form, and a bound on the Euclidean norm of what storing it lost.
template <class V>
struct Stored {
  V sqnorm, lost;
};

// accumulate(sum, a value of an A row in every lane, a vector of B rows) for all K::rows x K::cols pairs, in registers; c is
// set, or added to.
template <class K, class V, class Accumulate>
[[gnu::always_inline]] inline void accumulate_group(const V* a, const V* b, int64_t words, V* c, int64_t stride, bool add,
                                                    Accumulate accumulate) {
  vec<V> sums[K::rows][K::col_vecs] = {};
  for (int64_t w = 0; w < words; ++w, a += K::rows, b += K::cols) {
    vec<V> vb[K::col_vecs];
#pragma GCC unroll 4
    for (int j = 0; j < K::col_vecs; ++j) vb[j] = load(b + j * lanes<V>);
#pragma GCC unroll 16
    for (int i = 0; i < K::rows; ++i) {
      const vec<V> va = splat(a[i]);
#pragma GCC unroll 4
      for (int j = 0; j < K::col_vecs; ++j) accumulate(sums[i][j], va, vb[j]);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < K::rows; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < K::col_vecs; ++j) {
      V* at = c + i * stride + j * lanes<V>;
      store(at, add ? load(at) + sums[i][j] : sums[i][j]);
    }
}

// Rounding errors grow with the length of a sum: longer ones are sums of sums over so many columns.
constexpr int64_t longest_sum = 512;

template <class V>
struct Product {
  using word = V;
  using acc = V;
#if defined(__AVX512F__)
  static constexpr int rows = 14, col_vecs = 2;
#else
  static constexpr int rows = 6, col_vecs = 2;
#endif
  static constexpr int cols = col_vecs * lanes<V>;
  static constexpr int few = rows;
  static constexpr bool row_major = false, keeps = false;  // as large as the rows themselves
  static int64_t words(int64_t d) { return d; }
  static int64_t a_stride(int64_t words) { return words; }
  static void begin() {}
  static void end() {}

  static void run(const V* a, const V* b, int64_t words, V* c, int64_t stride, int64_t = rows) {
    for (int64_t w = 0; w < words; w += longest_sum)
      accumulate_group<Product>(a + w * rows, b + w * cols, words - w < longest_sum ? words - w : longest_sum, c, stride, w > 0,
                                [](vec<V>& sum, vec<V> x, vec<V> y) { sum = multiply_add(x, y, sum); });
  }
  static Stored<V> words_from(const V* centered, int64_t d, V* out) {
    std::memcpy(out, centered, static_cast<size_t>(d) * sizeof(V));
    return {dot(plain(centered), plain(centered), d), 0};
  }
  static void pack_a(const V* group, int64_t words, V* panel) { interleave<rows>(group, words, panel); }
  static void pack_b(const V* group, int64_t words, V* panel) { interleave<cols>(group, words, panel); }
  static int64_t b_index(int64_t w, int64_t r, int64_t) { return w * cols + r; }
  static void put_row(const V* row, int64_t r, int64_t words, V* panel) {
    for (int64_t w = 0; w < words; ++w) panel[w * rows + r] = row[w];
  }

  template <int count>
  static void interleave(const V* group, int64_t words, V* panel) {
    for (int64_t w = 0; w < words; ++w)
      for (int r = 0; r < count; ++r) panel[w * count + r] = group[r * words + w];
  }
};

#if defined(__AVX512F__)
// 16 x 16 transposition of 32-bit words: out[i * out_stride + j] = in[j * in_stride + i].
inline void transpose16(const uint32_t* in, int64_t in_stride, uint32_t* out, int64_t out_stride) {
  __m512i r[16], t[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) r[i] = _mm512_loadu_si512(in + i * in_stride);
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    _mm512_storeu_si512(out + i * out_stride, _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88));
    _mm512_storeu_si512(out + (i + 8) * out_stride, _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd));
    _mm512_storeu_si512(out + (i + 4) * out_stride, _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88));
    _mm512_storeu_si512(out + (i + 12) * out_stride, _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd));
  }
}

// Groups of 14 rows: columns of 16 words are transposed as 16 rows, and the two that are not there are not stored. The
// scratch they are read from has room for 32 rows.
template <>
template <>
inline void Product<float>::interleave<14>(const float* group, int64_t words, float* panel) {
  alignas(64) uint32_t square[256];
  int64_t w = 0;
  for (; w + 16 <= words; w += 16) {
    transpose16(reinterpret_cast<const uint32_t*>(group + w), words, square, 16);
    for (int64_t column = 0; column < 16; ++column)
      _mm512_mask_storeu_epi32(panel + (w + column) * 14, 0x3fff, _mm512_load_si512(square + column * 16));
  }
  for (; w < words; ++w)
    for (int r = 0; r < 14; ++r) panel[w * 14 + r] = group[r * words + w];
}

template <>
template <>
inline void Product<float>::interleave<32>(const float* group, int64_t words, float* panel) {
  int64_t w = 0;
  for (; w + 16 <= words; w += 16)
    for (int r = 0; r < 32; r += 16)
      transpose16(reinterpret_cast<const uint32_t*>(group + r * words + w), words,
                  reinterpret_cast<uint32_t*>(panel + w * 32 + r), 32);
  for (; w < words; ++w)
    for (int r = 0; r < 32; ++r) panel[w * 32 + r] = group[r * words + w];
}
#endif

// Sums of squared differences instead of products: equal rows are at exactly 0.
template <class V>
struct Difference : Product<V> {
  static void run(const V* a, const V* b, int64_t words, V* c, int64_t stride, int64_t = 0) {
    accumulate_group<Difference>(a, b, words, c, stride, false, [](vec<V>& sum, vec<V> x, vec<V> y) {
      const vec<V> difference = y - x;
      sum = multiply_add(difference, difference, sum);
    });
  }
};

#if defined(__AVX512BF16__)
// Two bfloat16 columns make one 32-bit word; rows are padded with zero columns to whole vectors of words.
struct Bf16Words {
  using word = uint32_t;
  using acc = float;
  static constexpr int cols = 32;
  static constexpr bool keeps = true;
  static int64_t words(int64_t d) { return (d + 31) / 32 * 16; }

  static Stored<float> words_from(const float* centered, int64_t d, word* out) {
    __m512 lost = _mm512_setzero_ps(), sqnorm = lost;
    for (int64_t c = 0; c < words(d) * 2; c += 16) {
      const __m512 value = (__m512)(c + 16 <= d ? load(centered + c) : c < d ? load_partial(centered + c, d - c) : vec<float>{});
      const __m256i rounded = (__m256i)_mm512_cvtneps_pbh(value);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + c / 2), rounded);
      const __m512 stored = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(rounded), 16));
      const __m512 difference = _mm512_sub_ps(value, stored);
      lost = _mm512_fmadd_ps(difference, difference, lost);
      sqnorm = _mm512_fmadd_ps(stored, stored, sqnorm);
    }
    return {_mm512_reduce_add_ps(sqnorm), __builtin_sqrtf(_mm512_reduce_add_ps(lost)) * 1.001f};
  }
  static void pack_b(const word* group, int64_t words, word* panel) {
    for (int64_t w = 0; w < words; w += 16)
      for (int r = 0; r < 32; r += 16) transpose16(group + r * words + w, words, panel + b_offset(w, r, words), b_stride);
  }
#if defined(__AMX_BF16__)
  // Two subgroups of 16 columns, one behind the other, as the tile instructions want them.
  static constexpr int64_t b_stride = 16;
  static int64_t b_offset(int64_t w, int r, int64_t words) { return r * words + w * 16; }
#else
  static constexpr int64_t b_stride = 32;
  static int64_t b_offset(int64_t w, int r, int64_t) { return w * 32 + r; }
#endif
  static int64_t b_index(int64_t w, int64_t r, int64_t words) {
    return b_offset(w / 16 * 16, static_cast<int>(r / 16 * 16), words) + w % 16 * b_stride + r % 16;
  }
};
#endif

#if defined(__AMX_BF16__)
struct Filter : Bf16Words {
  static constexpr int rows = 32, few = 16;
  static constexpr bool row_major = true;
  static int64_t a_stride(int64_t words) { return words + 16; }  // a row more or less in another cache set
  static void begin() {
    alignas(64) uint8_t config[64] = {1};
    for (int tile = 0; tile < 8; ++tile) {
      config[16 + 2 * tile] = 64;  // bytes per row
      config[48 + tile] = 16;      // rows
    }
    _tile_loadconfig(config);
  }
  static void end() { _tile_release(); }
  static void run(const word* a, const word* b, int64_t words, float* c, int64_t stride, int64_t count = rows) {
    if (count <= few) return run_few(a, b, words, c, stride);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    const int64_t a_bytes = a_stride(words) * static_cast<int64_t>(sizeof(word));
    const word* a1 = a + 16 * a_stride(words);
    const word* b1 = b + 16 * words;
    for (int64_t w = 0; w < words; w += 16, a += 16, a1 += 16, b += 256, b1 += 256) {
#pragma GCC unroll 16
      for (int line = 0; line < 256; line += 16) {
        __builtin_prefetch(b + 256 + line);
        __builtin_prefetch(b1 + 256 + line);
      }
      _tile_loadd(4, a, a_bytes);
      _tile_loadd(6, b, 64);
      _tile_dpbf16ps(0, 4, 6);
      _tile_loadd(7, b1, 64);
      _tile_dpbf16ps(1, 4, 7);
      _tile_loadd(5, a1, a_bytes);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
    const int64_t bytes = stride * static_cast<int64_t>(sizeof(float));
    _tile_stored(0, c, bytes);
    _tile_stored(1, c + 16, bytes);
    _tile_stored(2, c + 16 * stride, bytes);
    _tile_stored(3, c + 16 * stride + 16, bytes);
  }
  // The first 16 rows only. Four sums again, for even and for odd words, as the instructions take long.
  static void run_few(const word* a, const word* b, int64_t words, float* c, int64_t stride) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    const int64_t a_bytes = a_stride(words) * static_cast<int64_t>(sizeof(word));
    const word* b1 = b + 16 * words;
    for (int64_t w = 0; w < words; w += 32, a += 32, b += 512, b1 += 512) {
      _tile_loadd(4, a, a_bytes);
      _tile_loadd(6, b, 64);
      _tile_dpbf16ps(0, 4, 6);
      _tile_loadd(7, b1, 64);
      _tile_dpbf16ps(1, 4, 7);
      if (w + 16 == words) break;
      _tile_loadd(5, a + 16, a_bytes);
      _tile_loadd(6, b + 256, 64);
      _tile_dpbf16ps(2, 5, 6);
      _tile_loadd(7, b1 + 256, 64);
      _tile_dpbf16ps(3, 5, 7);
    }
    alignas(64) float odd[512];
    _tile_stored(2, odd, 64);
    _tile_stored(3, odd + 256, 64);
    const int64_t bytes = stride * static_cast<int64_t>(sizeof(float));
    _tile_stored(0, c, bytes);
    _tile_stored(1, c + 16, bytes);
    for (int r = 0; r < 16; ++r, c += stride) {
      store(c, load(c) + load(odd + r * 16));
      store(c + 16, load(c + 16) + load(odd + 256 + r * 16));
    }
  }
  static void put_row(const word* row, int64_t r, int64_t words, word* panel) {
    std::memcpy(panel + r * a_stride(words), row, static_cast<size_t>(words) * sizeof(word));
  }
};
#elif defined(__AVX512BF16__)
struct Filter : Bf16Words {
  static constexpr int rows = 14, few = rows;
  static constexpr bool row_major = false;
  static int64_t a_stride(int64_t words) { return words; }
  static void begin() {}
  static void end() {}
  static void run(const word* a, const word* b, int64_t words, float* c, int64_t stride, int64_t = rows) {
    __m512 sums[rows][2];
#pragma GCC unroll 16
    for (int i = 0; i < rows; ++i) sums[i][0] = sums[i][1] = _mm512_setzero_ps();
    for (int64_t w = 0; w < words; ++w, a += rows, b += cols) {
      const __m512bh b0 = (__m512bh)_mm512_loadu_si512(b);
      const __m512bh b1 = (__m512bh)_mm512_loadu_si512(b + 16);
#pragma GCC unroll 16
      for (int i = 0; i < rows; ++i) {
        const __m512bh va = (__m512bh)_mm512_set1_epi32(static_cast<int>(a[i]));
        sums[i][0] = _mm512_dpbf16_ps(sums[i][0], va, b0);
        sums[i][1] = _mm512_dpbf16_ps(sums[i][1], va, b1);
      }
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; ++i) {
      _mm512_storeu_ps(c + i * stride, sums[i][0]);
      _mm512_storeu_ps(c + i * stride + 16, sums[i][1]);
    }
  }
  static void pack_a(const word* group, int64_t words, word* panel) {
    for (int64_t w = 0; w < words; ++w)
      for (int r = 0; r < rows; ++r) panel[w * rows + r] = group[r * words + w];
  }
  static void put_row(const word* row, int64_t r, int64_t words, word* panel) {
    for (int64_t w = 0; w < words; ++w) panel[w * rows + r] = row[w];
  }
};
#else
using Filter = Product<float>;
#endif

// ---- packing ---------------------------------------------------------------------------------------------------------

// Packed rows of one side. sqnorm and lost are per row, sqnorm of the stored form in acc precision.
template <class K>
struct Panel {
  typename K::word* words;
  typename K::acc* sqnorm;
  typename K::acc* lost;
  typename K::acc max_lost;
  int64_t count;
};

// Scratch words per worker for packing one group.
template <class K>
inline int64_t pack_scratch(int64_t d) {
  constexpr int most = K::rows > K::cols ? K::rows : K::cols;
  return most * K::words(d) + d;
}

// All that is lost of a row: each value was rounded before it was stored (2^-24 relative), and products and squares below
// 2^-126 vanish (tiles flush them), 2 d of them in a squared distance.
template <class V>
inline V lost_bound(const Stored<V>& stored, int64_t d) {
  return stored.lost + static_cast<V>(__builtin_sqrt(static_cast<double>(stored.sqnorm)) * 0x1p-22) +
         static_cast<V>(__builtin_sqrt(static_cast<double>(d)) * 0x1p-60);
}

template <class K>
inline void note_row(const Stored<typename K::acc>& stored, int64_t d, Panel<K>& panel, int64_t i) {
  panel.sqnorm[i] = stored.sqnorm;
  panel.lost[i] = lost_bound(stored, d);
  if (panel.lost[i] > panel.max_lost) panel.max_lost = panel.lost[i];
}

// Packs `count` rows of d columns; read(r, out) puts row r into out, ascending.
template <class K, bool as_a, class Read>
inline void pack_read(int64_t count, int64_t d, Panel<K>& panel, typename K::word* scratch, Read&& read) {
  using V = typename K::acc;
  constexpr int group = as_a ? K::rows : K::cols;
  constexpr bool in_place = as_a && K::row_major;
  const int64_t words = K::words(d), stride = as_a ? K::a_stride(words) : words;
  V* values = reinterpret_cast<V*>(scratch + group * words);
  panel.count = count;
  panel.max_lost = 0;
  for (int64_t g = 0; g < count; g += group) {
    typename K::word* packed = panel.words + g * stride;
    for (int64_t r = 0; r < group; ++r) {
      typename K::word* out = in_place ? packed + r * stride : scratch + r * words;
      if (g + r >= count) {
        std::memset(out, 0, static_cast<size_t>(words) * sizeof(*out));
        continue;
      }
      read(g + r, values);
      note_row<K>(K::words_from(values, d, out), d, panel, g + r);
    }
    if constexpr (as_a && !in_place)
      K::pack_a(scratch, words, packed);
    else if constexpr (!as_a)
      K::pack_b(scratch, words, packed);
  }
}

// Packs rows [first, first + count) of a list, centred; rows up to `end` will be asked for next. Rows that lie anywhere are all
// asked for at once, those that follow each other a few ahead.
template <class K, bool as_a, class T>
inline void pack(const RowList<T>& list, int64_t first, int64_t count, const Frame<T>& frame, Panel<K>& panel,
                 typename K::word* scratch, int64_t end = 0) {
  const int64_t d = list.X.cols, last = end > first + count ? end : first + count;
  for (int64_t r = 0; list.order && r < count; ++r) prefetch_row(list[first + r], d);
  pack_read<K, as_a>(count, d, panel, scratch, [&](int64_t r, typename K::acc* out) {
    if (!list.order && first + r + rows_ahead < last) prefetch_row(list[first + r + rows_ahead], d);
    center_row(list[first + r], frame, d, out);
  });
}

// One more row at the end of a packed B panel.
template <class K, class T>
inline void append_b(const Row<T>& x, int64_t d, const Frame<T>& frame, Panel<K>& panel, typename K::word* scratch) {
  const int64_t words = K::words(d), r = panel.count % K::cols;
  typename K::word* group = panel.words + (panel.count - r) * words;
  if (r == 0) std::memset(group, 0, static_cast<size_t>(K::cols * words) * sizeof(*group));
  auto* values = reinterpret_cast<typename K::acc*>(scratch + words);
  center_row(x, frame, d, values);
  note_row<K>(K::words_from(values, d, scratch), d, panel, panel.count++);
  for (int64_t w = 0; w < words; ++w) group[K::b_index(w, r, words)] = scratch[w];
}

// c[(A row within its group) * stride + (B row)] for one group of A rows against the panel of B, all of it or from the
// group of columns that begins at `first`.
template <class K>
inline void multiply(const typename K::word* a_group, const Panel<K>& b, int64_t words, typename K::acc* c, int64_t stride,
                     int64_t first = 0) {
  for (int64_t j = first; j < b.count; j += K::cols) K::run(a_group, b.words + j * words, words, c + j, stride);
}

// Rows per block so that a packed B block stays in half of a 1 MB L2 and a packed A block in 1 to 2 MB.
template <class K>
inline int64_t b_block(int64_t d) {
  const int64_t fit = (int64_t(512) << 10) / (K::words(d) * static_cast<int64_t>(sizeof(typename K::word)));
  return round_up(at_least(at_most(fit, 256), 32), K::cols);
}
template <class K>
inline int64_t a_block(int64_t d) {
  const int64_t fit = (int64_t(1) << 20) / (K::words(d) * static_cast<int64_t>(sizeof(typename K::word)));
  return round_up(at_least(at_most(fit, 1024), 64), K::rows);
}

// A slice of the arena shaped as a panel for up to `rows` rows.
template <class K>
inline Panel<K> take_panel(Arena& arena, int64_t rows, int64_t d) {
  const int64_t padded = at_least(round_up(rows, K::rows), round_up(rows, K::cols));
  return {arena.take<typename K::word>(padded * K::a_stride(K::words(d))), arena.take<typename K::acc>(padded),
          arena.take<typename K::acc>(padded), 0, 0};
}

// ---- bounds ----------------------------------------------------------------------------------------------------------

// Error of the computed sqnorm_i + sqnorm_j - 2 <,> relative to sqnorm_i + sqnorm_j: sums of d rounded terms, twice over
// for sums in another order. What underflows is part of `lost`.
inline float filter_slack(int64_t d) { return static_cast<float>(d + 32) * 0x1p-23f; }

struct Bounds {
  float lower, upper;  // on the squared distance of the true rows, scaled
};
inline Bounds distance_bounds(float sq_i, float sq_j, float product, float lost, float slack) {
  const float middle = sq_i + sq_j - 2 * product, wobble = slack * (sq_i + sq_j);
  const float low = middle - wobble, high = middle + wobble;
  const float near = (low > 0 ? __builtin_sqrtf(low) : 0) * (1 - 0x1p-22f) - lost;
  const float far = (high > 0 ? __builtin_sqrtf(high) : 0) * (1 + 0x1p-22f) + lost;
  return {near > 0 ? near * near * (1 - 0x1p-22f) : 0, far * far * (1 + 0x1p-22f)};
}

// The largest value of (1 - slack) sq_i + (1 - slack) sq_j - 2 <,> that a pair at true distance <= reach can show.
inline float reach_bound(float reach, float lost) {
  const float far = reach + lost;
  return far * far * (1 + 0x1p-21f);
}

}  // namespace
}  // namespace pyal
