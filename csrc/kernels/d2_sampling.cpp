#include "d2_sampling.hpp"

#include "../cpu/instantiate.hpp"
#include "../cpu/nearest.hpp"

namespace pyal::cpu {
namespace {

template <class T>
struct Layout {
  using V = compute_t<T>;
  int64_t n, n_blocks;
  V* weight;        // (n,) upper bound on D2
  int32_t* seen;    // (n,) how many picks the weight accounts for
  double* sum;      // per block
  double* sqnorm;   // (n,) |g_i|^2, where first = largest or q asks for it
  double* pick_sqnorm;
  double* covered_sqnorm;
  uint8_t* picked;  // (n,)
  V* origin;
  double* mean;
  V* best;
  Nearest<T> nearest;

  Layout(const D2SamplingParams<T>& p, int threads, Arena& arena)
      : n(p.candidates.data ? p.candidates.size : p.X.rows),
        n_blocks((n + d2_block - 1) / d2_block),
        weight(arena.take<V>(n)),
        seen(arena.take<int32_t>(n)),
        sum(arena.take<double>(n_blocks)),
        sqnorm(arena.take<double>(n)),
        pick_sqnorm(arena.take<double>(p.batch_size)),
        covered_sqnorm(arena.take<double>(p.q ? p.covered.size : 0)),
        picked(arena.take<uint8_t>(n)),
        origin(arena.take<V>(p.X.cols)),
        mean(arena.take<double>(p.X.cols)),
        best(arena.take<V>(p.covered.size && !p.q ? p.X.rows : 0)),
        nearest(p.X.cols, p.covered.size && !p.q ? p.covered.size : 1, threads, arena) {}
};

template <class T>
struct Sampler {
  using V = compute_t<T>;
  const D2SamplingParams<T>& p;
  Layout<T>& s;
  RowList<T> candidates;
  int64_t centers = 0;  // picks so far

  Row<T> q_of(int64_t position) const { return plain(p.q ? p.q + position * p.q_cols : nullptr); }

  double sqnorm_of(int64_t position) const {
    const Row<T> x = row(p.X, position);
    const double xx = static_cast<double>(dot(x, x, p.X.cols));
    if (!p.q) return xx;
    const Row<T> q = q_of(position);
    return static_cast<double>(dot(q, q, p.q_cols)) * xx;
  }

  // What candidate i is drawn in proportion to, where `weight` is its weight.
  double mass(int64_t i, double weight) const {
    return p.importance ? p.importance[candidates.position(i)] * weight : weight;
  }

  static V combine(double sqnorm_a, double sqnorm_b, V of_q, V of_x) {
    const double square = sqnorm_a + sqnorm_b - 2 * (static_cast<double>(of_q) * static_cast<double>(of_x));
    return square > 0 ? static_cast<V>(square) : V(0);
  }

  // The least of `weight` and the squared distances of candidate i to some centres, whose norms matter only with q.
  V nearest(int64_t i, V weight, const int64_t* centers, const double* sqnorms, int64_t count) const {
    const int64_t a = candidates.position(i), d = p.X.cols;
    const Row<T> x = row(p.X, a);
    const Row<T> q = q_of(a);
    int64_t c = 0;
    for (; c + 4 <= count; c += 4) {
      V of_x[4], of_q[4];
      if (!p.q) {
        sqdist4(p.X, centers + c, x, d, of_x);
        for (int r = 0; r < 4; ++r) weight = minimum(weight, of_x[r]);
        continue;
      }
      dot4(p.X, centers + c, x, d, of_x);
      dot4(plain(p.q, p.X.rows, p.q_cols), centers + c, q, p.q_cols, of_q);
      for (int r = 0; r < 4; ++r) weight = minimum(weight, combine(s.sqnorm[i], sqnorms[c + r], of_q[r], of_x[r]));
    }
    for (; c < count; ++c) {
      const Row<T> other = row(p.X, centers[c]);
      weight = minimum(weight, p.q ? combine(s.sqnorm[i], sqnorms[c], dot(q_of(centers[c]), q, p.q_cols), dot(other, x, d))
                                   : sqdist(other, x, d));
    }
    return weight;
  }

  // D2 of candidate i as of now.
  V current(int64_t i) const {
    return nearest(i, s.weight[i], p.positions + s.seen[i], s.pick_sqnorm + s.seen[i], centers - s.seen[i]);
  }

  void add_block(int64_t b) {
    double total = 0;
    for (int64_t i = b * d2_block; i < at_most((b + 1) * d2_block, s.n); ++i)
      total += mass(i, static_cast<double>(s.weight[i]));
    s.sum[b] = total;
  }

  void set(int64_t i, V weight) {
    s.weight[i] = weight;
    s.seen[i] = static_cast<int32_t>(centers);
    add_block(i / d2_block);
  }

  bool update_all(const Control& control) {
    return parallel_for(control, s.n_blocks, [&](int64_t b, int) {
      for (int64_t i = b * d2_block; i < at_most((b + 1) * d2_block, s.n); ++i) {
        if (s.picked[i]) continue;
        s.weight[i] = current(i);
        s.seen[i] = static_cast<int32_t>(centers);
      }
      add_block(b);
    });
  }

  double total() const {
    double sum = 0;
    for (int64_t b = 0; b < s.n_blocks; ++b) sum += s.sum[b];
    return sum;
  }

  int64_t draw(double target) const {
    double before = 0;
    int64_t block = -1, last = -1;
    for (int64_t b = 0; b < s.n_blocks && block < 0; ++b) {
      if (s.sum[b] > 0) last = b;
      if (before + s.sum[b] > target)
        block = b;
      else
        before += s.sum[b];
    }
    if (block < 0) {  // target was rounded up to the total
      block = last;
      before -= s.sum[block];
    }
    double within = 0;
    int64_t chosen = -1;
    for (int64_t i = block * d2_block; i < at_most((block + 1) * d2_block, s.n); ++i) {
      const double here = mass(i, static_cast<double>(s.weight[i]));
      if (here > 0) chosen = i;
      within += here;
      if (within > target - before) break;
    }
    return chosen;
  }

  int64_t unpicked(double u) const {
    int64_t left = 0;
    for (int64_t i = 0; i < s.n; ++i) left += !s.picked[i];
    int64_t number = static_cast<int64_t>(u * static_cast<double>(left));
    for (int64_t i = 0; i < s.n; ++i)
      if (!s.picked[i] && number-- == 0) return i;
    return -1;
  }

  // -1: interrupted.
  int64_t pick(const double* uniforms, const Control& control) {
    for (int64_t attempt = 0; attempt < d2_attempts; ++attempt) {
      const double u = uniforms[2 * attempt], v = uniforms[2 * attempt + 1], sum = total();
      if (sum == 0) return unpicked(u);
      const int64_t i = draw(u * sum);
      const V old = s.weight[i], now = current(i);
      const bool accepted = v * static_cast<double>(old) < static_cast<double>(now);
      set(i, now);
      if (accepted) return i;
    }
    if (!update_all(control)) return -1;
    const double u = uniforms[2 * d2_attempts], sum = total();
    return sum == 0 ? unpicked(u) : draw(u * sum);
  }

  // The first pick where nothing is covered and first = uniform.
  int64_t uniform_first() {
    if (p.importance) {
      for (int64_t i = 0; i < s.n; ++i) s.weight[i] = 1;
      for (int64_t b = 0; b < s.n_blocks; ++b) add_block(b);
      const double sum = total();
      const int64_t drawn = sum == 0 ? -1 : draw(p.first_uniform * sum);
      for (int64_t i = 0; i < s.n; ++i) s.weight[i] = static_cast<V>(__builtin_inf());
      if (drawn >= 0) return drawn;
    }
    return static_cast<int64_t>(p.first_uniform * static_cast<double>(s.n));
  }

  int64_t largest_first() const {
    int64_t first = 0;
    for (int64_t i = 1; i < s.n; ++i)
      if (mass(i, s.sqnorm[i]) > mass(first, s.sqnorm[first])) first = i;
    return first;
  }

  void take(int64_t i, int64_t t) {
    p.positions[t] = candidates.position(i);
    s.pick_sqnorm[t] = s.sqnorm[i];
    s.picked[i] = 1;
    centers = t + 1;
    set(i, 0);
  }
};

}  // namespace

template <Isa isa, class T>
int64_t d2_sampling_scratch(const D2SamplingParams<T>& p, int threads) {
  Arena arena(nullptr);
  Layout<T>(p, threads, arena);
  return arena.bytes();
}

template <Isa isa, class T>
bool d2_sampling(const D2SamplingParams<T>& p, void* scratch, const Control& control) {
  using V = compute_t<T>;
  Arena arena(scratch);
  Layout<T> s(p, control.threads, arena);
  Sampler<T> sampler = {p, s, {p.X, p.candidates.data}};
  const RowList<T>& candidates = sampler.candidates;
  if (p.batch_size == 0) return true;
  const V infinity = static_cast<V>(__builtin_inf());
  for (int64_t i = 0; i < s.n; ++i) {
    s.weight[i] = infinity;
    s.seen[i] = 0;
    s.picked[i] = 0;
  }

  const bool norms = p.q || (!p.covered.size && p.first == D2First::largest);
  const bool completed = parallel_for(control, s.n_blocks, [&](int64_t b, int) {
    for (int64_t i = b * d2_block; i < at_most((b + 1) * d2_block, s.n); ++i)
      s.sqnorm[i] = norms ? sampler.sqnorm_of(candidates.position(i)) : 0;
  });
  if (!completed) return false;

  int64_t t = 0;
  if (!p.covered.size) {
    sampler.take(p.first == D2First::largest ? sampler.largest_first() : sampler.uniform_first(), t++);
  } else if (!p.q) {
    const RowList<T> covered = {p.X, p.covered.data};
    const Frame<T> frame = including(make_frame(candidates, s.n, s.origin, s.mean), covered, p.covered.size);
    for (int64_t i = 0; i < s.n; ++i) s.best[candidates.position(i)] = infinity;
    if (!s.nearest.run(candidates, s.n, covered, p.covered.size, frame, s.best, nullptr, nullptr, control)) return false;
    for (int64_t i = 0; i < s.n; ++i) s.weight[i] = s.best[candidates.position(i)];
  } else {
    for (int64_t c = 0; c < p.covered.size; ++c) s.covered_sqnorm[c] = sampler.sqnorm_of(p.covered.data[c]);
    const auto compare = [&](int64_t b, int) {
      for (int64_t i = b * d2_block; i < at_most((b + 1) * d2_block, s.n); ++i)
        s.weight[i] = sampler.nearest(i, s.weight[i], p.covered.data, s.covered_sqnorm, p.covered.size);
    };
    if (!parallel_for(control, s.n_blocks, compare)) return false;
  }
  if (p.q && !p.covered.size) {
    for (int64_t i = 0; i < s.n; ++i)
      if (!s.picked[i]) s.weight[i] = static_cast<V>(2 * (s.sqnorm[i] + s.pick_sqnorm[0]));
    for (int64_t b = 0; b < s.n_blocks; ++b) sampler.add_block(b);
  } else if (!sampler.update_all(control)) {
    return false;
  }
  for (; t < p.batch_size; ++t) {
    const int64_t i = sampler.pick(p.uniforms + t * d2_uniforms, control);
    if (i < 0 || stop_requested(control, static_cast<double>(t) / static_cast<double>(p.batch_size))) return false;
    sampler.take(i, t);
  }
  return true;
}

PYAL_INSTANTIATE_KERNEL(d2_sampling, D2SamplingParams)

}  // namespace pyal::cpu
