// The draws are one after another by nature, so one block makes them, with all its warps on the missed centres of the
// row drawn. It keeps the running sums of the blocks of 256 weights in memory, so that a draw is one look for the first
// that exceeds the target; a changed weight renews the sums from its block on. Everything is added by one thread in the
// order that the contract states. What needs the whole GPU (the first weights, bringing all rows up to date) has grids
// of its own; the latter is launched for every pick and returns at once where a draw was accepted.
#include "../cuda/warp.cuh"
#include "d2_sampling.hpp"

namespace pyal::cuda {
namespace {

constexpr int group = 4;  // rows, or centres, of a warp at a time
constexpr int ahead = 8;  // centres of a warp at a time where it has one row only
static_assert(d2_block == threads);

struct Draws {
  double* sums;       // (blocks,) of the weights in the block
  double* running;    // (blocks,) inclusive running sums of sums
  int64_t* left;      // (blocks,) candidates not yet picked
  int* undecided;     // no attempt of the last pick was accepted
  int64_t blocks, candidates;

  Draws(Arena& arena, int64_t n_candidates)
      : blocks(ceil_div(n_candidates, d2_block)), candidates(n_candidates) {
    sums = arena.take<double>(blocks);
    running = arena.take<double>(blocks);
    left = arena.take<int64_t>(blocks);
    undecided = arena.take<int>(1);
  }
};

template <class T>
struct Scratch {
  using C = compute_t<T>;
  Rows<T> rows;  // the candidates
  int64_t n;
  const C* q;
  int64_t q_cols;
  const double* importance;
  bool X_vectorized, q_vectorized;
  Arena arena;
  C* weights;    // (candidates,)
  int64_t* seen;  // (candidates,) how many picks the weight has been compared with; -1: picked
  double* sqnorms;  // (n,) |g_i|^2, with q only
  Draws draws;
  GridBest<double> best;

  Scratch(const D2SamplingParams<T>& p, void* base)
      : rows(rows_at(p.X, p.candidates)),
        n(p.X.rows),
        q(p.q),
        q_cols(p.q_cols),
        importance(p.importance),
        X_vectorized(vectorizable(p.X.data, p.X.cols)),
        q_vectorized(vectorizable(p.q, p.q_cols)),
        arena(base),
        weights(arena.take<C>(rows.size)),
        seen(arena.take<int64_t>(rows.size)),
        sqnorms(arena.take<double>(p.q ? p.X.rows : 0)),
        draws(arena, rows.size),
        best(arena) {}

  __device__ ScaledRow<C> q_of(int64_t position) const { return {q + position * q_cols, C(1)}; }

  // What a candidate is drawn in proportion to, where `weight` is its weight.
  __device__ double mass(int64_t candidate, double weight) const {
    return importance ? importance[rows.position(candidate)] * weight : weight;
  }
};

// sqdist[r][k] between positions a[r] and b[k], by a warp. The combination rounds every product: products of equal rows
// must cancel to 0.
template <int R, int K, class T>
__device__ void sqdists(const Scratch<T>& s, const int64_t (&a)[R], const int64_t (&b)[K],
                        compute_t<T> (&sqdist)[R][K]) {
  using C = compute_t<T>;
  ScaledRow<T> x_a[R], x_b[K];
#pragma unroll
  for (int r = 0; r < R; ++r) x_a[r] = s.rows.at(a[r]);
#pragma unroll
  for (int k = 0; k < K; ++k) x_b[k] = s.rows.at(b[k]);
  if (!s.q) {
    warp_pairs<SquaredDifference>(x_a, x_b, s.rows.d, s.X_vectorized, sqdist);
    return;
  }
  ScaledRow<C> q_a[R], q_b[K];
#pragma unroll
  for (int r = 0; r < R; ++r) q_a[r] = s.q_of(a[r]);
#pragma unroll
  for (int k = 0; k < K; ++k) q_b[k] = s.q_of(b[k]);
  C products[R][K];
  warp_pairs<Product>(x_a, x_b, s.rows.d, s.X_vectorized, products);
  warp_pairs<Product>(q_a, q_b, s.q_cols, s.q_vectorized, sqdist);
#pragma unroll
  for (int r = 0; r < R; ++r)
#pragma unroll
    for (int k = 0; k < K; ++k) {
      const double product = static_cast<double>(sqdist[r][k]) * static_cast<double>(products[r][k]);
      const double squares = s.sqnorms[a[r]] + s.sqnorms[b[k]];
      sqdist[r][k] = static_cast<C>(max(squares - 2 * product, 0.0));
    }
}

// The least |g_row - g_c|^2, by a warp, over `ahead` centres from centers[first] on, again after each step, up to last.
template <class T>
__device__ compute_t<T> nearest(const Scratch<T>& s, int64_t row, const int64_t* centers, int64_t first, int64_t last,
                                int64_t step) {
  compute_t<T> least = infinity<compute_t<T>>;
  const int64_t a[1] = {row};
  for (int64_t c = first; c < last; c += step) {
    int64_t b[ahead];
#pragma unroll
    for (int k = 0; k < ahead; ++k) b[k] = centers[min(c + k, last - 1)];
    compute_t<T> sqdist[1][ahead];
    sqdists(s, a, b, sqdist);
#pragma unroll
    for (int k = 0; k < ahead; ++k) least = min(least, sqdist[0][k]);
  }
  return least;
}

// ---- first weights ----

// |g_i|^2 of every row, in the order of summation of the products it will be combined with.
template <class T>
__global__ void d2_sqnorms_kernel(Scratch<T> s) {
  using C = compute_t<T>;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * warps + threadIdx.x / warp_size;
  if (i >= s.n) return;
  const ScaledRow<T> x[1] = {s.rows.at(i)};
  const ScaledRow<C> q[1] = {s.q_of(i)};
  C of_x[1][1], of_q[1][1];
  warp_pairs<Product>(x, x, s.rows.d, s.X_vectorized, of_x);
  warp_pairs<Product>(q, q, s.q_cols, s.q_vectorized, of_q);
  if (threadIdx.x % warp_size == 0)
    s.sqnorms[i] = static_cast<double>(of_q[0][0]) * static_cast<double>(of_x[0][0]);
}

template <class T>
__global__ void d2_first_kernel(D2SamplingParams<T> p, Scratch<T> s) {
  Best<double> best = worst_of_all<double>();
  const int64_t stride = static_cast<int64_t>(gridDim.x) * warps;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * warps + threadIdx.x / warp_size; i < s.rows.size; i += stride) {
    double sqnorm;
    if (s.q) {
      sqnorm = s.sqnorms[s.rows.position(i)];
    } else {
      const ScaledRow<T> x[1] = {s.rows.row(i)};
      compute_t<T> product[1][1];
      warp_pairs<Product>(x, x, s.rows.d, s.X_vectorized, product);
      sqnorm = product[0][0];
    }
    best = better(best, Best<double>{s.mass(i, sqnorm), i});
  }
  if (grid_best(best, s.best) && threadIdx.x == 0) p.positions[0] = s.rows.position(best.position);
}

template <class T>
__global__ void d2_uniform_first_kernel(D2SamplingParams<T> p, Rows<T> rows) {
  const auto number = static_cast<int64_t>(p.first_uniform * static_cast<double>(rows.size));
  p.positions[0] = rows.position(min(number, rows.size - 1));
}

// Weights that are drawn from in proportion to the importance alone.
template <class T>
__global__ void d2_unit_kernel(Scratch<T> s) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (i >= s.rows.size) return;
  s.weights[i] = compute_t<T>(1);
  s.seen[i] = 0;
}

// Weights from the centres. With picked the only centre is the first pick, which is out from then on.
template <class T>
__global__ void d2_cover_kernel(Scratch<T> s, const int64_t* centers, int64_t n_centers, bool picked) {
  using C = compute_t<T>;
  const int lane = threadIdx.x % warp_size;
  const int64_t first = (static_cast<int64_t>(blockIdx.x) * warps + threadIdx.x / warp_size) * group;
  if (first >= s.rows.size) return;
  int64_t a[group];
  C least[group];
#pragma unroll
  for (int r = 0; r < group; ++r) {
    a[r] = s.rows.position(min(first + r, s.rows.size - 1));
    least[r] = infinity<C>;
  }
  for (int64_t c = 0; c < n_centers; c += group) {
    int64_t b[group];
#pragma unroll
    for (int k = 0; k < group; ++k) b[k] = centers[min(c + k, n_centers - 1)];
    C sqdist[group][group];
    sqdists(s, a, b, sqdist);
#pragma unroll
    for (int r = 0; r < group; ++r)
#pragma unroll
      for (int k = 0; k < group; ++k) least[r] = min(least[r], sqdist[r][k]);
  }
#pragma unroll
  for (int r = 0; r < group; ++r)
    if (lane == r && first + r < s.rows.size) {
      const bool is_pick = picked && a[r] == centers[0];
      s.weights[first + r] = is_pick ? C(0) : least[r];
      s.seen[first + r] = is_pick ? -1 : picked;
    }
}

// With q and nothing covered: bounds from the norms alone, beside the first pick.
template <class T>
__global__ void d2_bound_kernel(D2SamplingParams<T> p, Scratch<T> s) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  if (i >= s.rows.size) return;
  const int64_t position = s.rows.position(i), pick = p.positions[0];
  const double bound = 2 * (s.sqnorms[position] + s.sqnorms[pick]);
  s.weights[i] = position == pick ? compute_t<T>(0) : static_cast<compute_t<T>>(bound);
  s.seen[i] = position == pick ? -1 : 0;
}

// ---- sums ----

// Inclusive running sums of up to 256 values in shared memory, by thread 0 in order; for all to read on return.
__device__ void add_in_order(double (&values)[threads], int64_t count, double before) {
  block_sync();
  if (threadIdx.x == 0) {
#pragma unroll 8
    for (int i = 0; i < static_cast<int>(count); ++i) values[i] = before += values[i];
  }
  block_sync();
}

template <class T>
__device__ int64_t rows_of(const Scratch<T>& s, int64_t block) {
  return min(s.rows.size - block * d2_block, d2_block);
}

// values = the running sums inside a block of weights, for the whole thread block.
template <class T>
__device__ void sum_block(const Scratch<T>& s, int64_t block, double (&values)[threads]) {
  const int64_t count = rows_of(s, block);
  block_sync();
  const int64_t i = block * d2_block + threadIdx.x;
  values[threadIdx.x] = threadIdx.x < count ? s.mass(i, static_cast<double>(s.weights[i])) : 0.0;
  add_in_order(values, count, 0);
}

// One block of threads per block of weights.
template <class T>
__device__ void renew_sum(const Scratch<T>& s, int64_t block, double (&values)[threads]) {
  sum_block(s, block, values);
  if (threadIdx.x == 0) s.draws.sums[block] = values[rows_of(s, block) - 1];
  block_sync();
}

template <class T>
__global__ void d2_sums_kernel(Scratch<T> s) {
  __shared__ double values[threads];
  const int64_t i = static_cast<int64_t>(blockIdx.x) * d2_block + threadIdx.x;
  const int left = block_count(i < s.rows.size && s.seen[i] >= 0);
  if (threadIdx.x == 0) s.draws.left[blockIdx.x] = left;
  renew_sum(s, blockIdx.x, values);
}

// Brings every candidate up to date with t picks, where pick t is undecided.
template <class T>
__global__ void d2_refresh_kernel(D2SamplingParams<T> p, Scratch<T> s, int64_t t) {
  __shared__ double values[threads];
  if (!*s.draws.undecided) return;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * d2_block;
  const int64_t count = rows_of(s, blockIdx.x);
  for (int64_t r = threadIdx.x / warp_size; r < count; r += warps) {
    const int64_t seen = s.seen[first + r];
    if (seen < 0 || seen == t) continue;
    const auto least = nearest(s, s.rows.position(first + r), p.positions, seen, t, ahead);
    warp_sync();
    if (threadIdx.x % warp_size == 0) {
      s.weights[first + r] = min(s.weights[first + r], least);
      s.seen[first + r] = t;
    }
  }
  renew_sum(s, blockIdx.x, values);
}

// ---- draws, by one block of threads; what they return is known to all of them ----

__device__ void renew_running(const Draws& d, int64_t from, double (&values)[threads]) {
  double before = from > 0 ? d.running[from - 1] : 0.0;
  for (int64_t base = from; base < d.blocks; base += threads) {
    const int64_t b = base + threadIdx.x, count = min(d.blocks - base, int64_t{threads});
    block_sync();
    values[threadIdx.x] = b < d.blocks ? d.sums[b] : 0.0;
    add_in_order(values, count, before);
    if (b < d.blocks) d.running[b] = values[threadIdx.x];
    before = values[count - 1];
  }
  block_sync();
}

// The candidate with `number` candidates before it that are not yet picked.
__device__ int64_t left_candidate(const Draws& d, const int64_t* seen, int64_t number) {
  int64_t before = 0, block = 0;
  for (int64_t base = 0; base < d.blocks; base += threads) {
    const int64_t b = base + threadIdx.x;
    const int64_t left = b < d.blocks ? d.left[b] : 0;
    int64_t total = 0;
    const int64_t below = before + block_exclusive_sum(left, total);
    const bool here = below <= number && number < below + left;
    if (block_any(here)) {
      const int64_t found = block_min(here ? b : beyond_all);
      const int64_t skipped = block_min(here ? below : beyond_all);
      block = found;
      number -= skipped;
      break;
    }
    before += total;
  }
  const int64_t i = block * d2_block + threadIdx.x;
  const bool free = i < d.candidates && seen[i] >= 0;
  int64_t total = 0;
  const int64_t rank = block_exclusive_sum(free, total);
  return block_min(free && rank == number ? i : beyond_all);
}

template <class T>
__device__ bool has_mass(const Scratch<T>& s, int64_t candidate) {
  return s.mass(candidate, static_cast<double>(s.weights[candidate])) > 0;
}

struct Draw {
  int64_t candidate;
  bool all_zero;  // drawn from those left, and so accepted
};

template <class T>
__device__ Draw draw(const Scratch<T>& s, double u, int64_t n_left, double (&values)[threads]) {
  const Draws& d = s.draws;
  const double total = d.running[d.blocks - 1];
  if (!(total > 0)) {
    const auto number = static_cast<int64_t>(u * static_cast<double>(n_left));
    return {left_candidate(d, s.seen, min(number, n_left - 1)), true};
  }
  const double target = u * total;
  int64_t block = beyond_all;
  for (int64_t b = threadIdx.x; b < d.blocks && block == beyond_all; b += threads)
    if (d.running[b] > target) block = b;
  block = block_min(block);
  if (block == beyond_all) {  // rounding: the last that holds anything
    int64_t negative = 0;
    for (int64_t b = threadIdx.x; b < d.blocks; b += threads)
      if (d.sums[b] > 0) negative = -b;
    block = -block_min(negative);
  }
  const double inside = target - (block > 0 ? d.running[block - 1] : 0.0);
  sum_block(s, block, values);
  const int64_t count = rows_of(s, block);
  const int64_t i = threadIdx.x;
  int64_t row = block_min(i < count && values[i] > inside ? i : beyond_all);
  if (row == beyond_all)
    row = -block_min(i < count && has_mass(s, block * d2_block + i) ? -i : int64_t{0});
  return {block * d2_block + row, false};
}

// One block, where all weights are 1: the first pick, in proportion to the importance.
template <class T>
__global__ void d2_drawn_first_kernel(D2SamplingParams<T> p, Scratch<T> s) {
  __shared__ double values[threads];
  renew_running(s.draws, 0, values);
  const Draw drawn = draw(s, p.first_uniform, s.rows.size, values);
  if (threadIdx.x == 0) p.positions[0] = s.rows.position(drawn.candidate);
}

// A new weight of a candidate, or its pick as number t; the sums follow. Called by all, between barriers.
template <class T>
__device__ void settle(const D2SamplingParams<T>& p, const Scratch<T>& s, int64_t candidate, compute_t<T> weight,
                       int64_t t, bool picked, double (&values)[threads]) {
  const int64_t block = candidate / d2_block;
  block_sync();
  if (threadIdx.x == 0) {
    s.weights[candidate] = picked ? compute_t<T>(0) : weight;
    s.seen[candidate] = picked ? -1 : t;
    if (picked) {
      --s.draws.left[block];
      p.positions[t] = s.rows.position(candidate);
    }
  }
  block_sync();
  renew_sum(s, block, values);
  renew_running(s.draws, block, values);
}

// One block. Decides pick t - 1 where its attempts failed (all rows are up to date then), and attempts pick t, where
// there is one.
template <class T>
__global__ void d2_draw_kernel(D2SamplingParams<T> p, Scratch<T> s, int64_t t, bool first_draw) {
  using C = compute_t<T>;
  __shared__ double values[threads];
  const bool undecided = *s.draws.undecided;
  if (first_draw || undecided) renew_running(s.draws, 0, values);
  if (undecided) {
    const double u = p.uniforms[(t - 1) * d2_uniforms + 2 * d2_attempts];
    settle(p, s, draw(s, u, s.rows.size - (t - 1), values).candidate, C(0), t - 1, true, values);
  }
  if (t == p.batch_size) return;
  const double* uniforms = p.uniforms + t * d2_uniforms;
  bool accepted = false;
  for (int64_t attempt = 0; attempt < d2_attempts && !accepted; ++attempt) {
    const double u = uniforms[2 * attempt], v = uniforms[2 * attempt + 1];
    const Draw drawn = draw(s, u, s.rows.size - t, values);
    const int64_t i = drawn.candidate;
    C weight = s.weights[i];
    const double bound = v * static_cast<double>(weight);
    if (drawn.all_zero) {
      accepted = true;
    } else {
      const int64_t first = s.seen[i] + threadIdx.x / warp_size * ahead;
      weight = min(weight, block_min(nearest(s, s.rows.position(i), p.positions, first, t, warps * ahead)));
      accepted = bound < static_cast<double>(weight);
    }
    settle(p, s, i, weight, t, accepted, values);
  }
  if (threadIdx.x == 0) *s.draws.undecided = !accepted;
}

}  // namespace

template <class T>
int64_t d2_sampling_scratch(const D2SamplingParams<T>& p) {
  return Scratch<T>(p, nullptr).arena.bytes();
}

template <class T>
void d2_sampling(const D2SamplingParams<T>& p, void* scratch, CUstream_st* stream) {
  const Scratch<T> s(p, scratch);
  if (p.batch_size == 0 || s.rows.size == 0) return;
  const unsigned grid = grid_for(s.rows.size, warps * group), blocks = static_cast<unsigned>(s.draws.blocks);
  set_bytes(s.best.arrived, 1, 0, stream);
  set_bytes(s.draws.undecided, 1, 0, stream);
  if (p.q) {
    launch(d2_sqnorms_kernel<T>, grid_for(p.X.rows, warps), threads, stream, s);
  }
  const bool nothing_covered = p.covered.size == 0;
  if (nothing_covered && p.first == D2First::largest) {
    launch(d2_first_kernel<T>, grid_for(s.rows.size, warps, max_partials), threads, stream, p, s);
  } else if (nothing_covered && p.importance) {
    launch(d2_unit_kernel<T>, grid_for(s.rows.size, threads), threads, stream, s);
    launch(d2_sums_kernel<T>, blocks, threads, stream, s);
    launch(d2_drawn_first_kernel<T>, 1, threads, stream, p, s);
  } else if (nothing_covered) {
    launch(d2_uniform_first_kernel<T>, 1, 1, stream, p, s.rows);
  }
  if (nothing_covered && p.q) {
    launch(d2_bound_kernel<T>, grid_for(s.rows.size, threads), threads, stream, p, s);
  } else {
    launch(d2_cover_kernel<T>, grid, threads, stream, s, nothing_covered ? p.positions : p.covered.data,
           nothing_covered ? 1 : p.covered.size, nothing_covered);
  }
  launch(d2_sums_kernel<T>, blocks, threads, stream, s);
  const int64_t first = nothing_covered ? 1 : 0;
  for (int64_t t = first; t <= p.batch_size; ++t) {
    launch(d2_draw_kernel<T>, 1, threads, stream, p, s, t, t == first);
    if (t == p.batch_size) break;
    launch(d2_refresh_kernel<T>, blocks, threads, stream, p, s, t);
  }
}

PYAL_INSTANTIATE_CUDA_KERNEL(d2_sampling, D2SamplingParams)

}  // namespace pyal::cuda
