// Three passes over the first rank rows of a (d, d) matrix: two while the rank may grow, to see what is new in the row, one
// for R x and its image; then the pass that writes. Each row is read from memory once a pass.
#include "recursive_least_squares.hpp"

#include "../cpu/instantiate.hpp"
#include "../cpu/rows.hpp"

namespace pyal::cpu {
namespace {

constexpr int64_t chunk = 64;

struct Layout {
  double *x, *rest, *sum, *products, *partial;

  Layout(int64_t d, Arena& arena)
      : x(arena.take<double>(d)),
        rest(arena.take<double>(d)),
        sum(arena.take<double>(d)),
        products(arena.take<double>(d)),
        partial(arena.take<double>((d + chunk - 1) / chunk * d)) {}
};

inline void add_multiple(double* __restrict to, double factor, const double* __restrict from, int64_t d) {
  for (int64_t c = 0; c < d; ++c) to[c] = multiply_add(factor, from[c], to[c]);
}

// f(i) for every i below count, some rows at a time.
template <class F>
bool for_rows(const Control& control, int64_t count, F&& f) {
  return parallel_for(control, (count + chunk - 1) / chunk, [&](int64_t item, int) {
    const int64_t end = (item + 1) * chunk < count ? (item + 1) * chunk : count;
    for (int64_t i = item * chunk; i < end; ++i) f(i, item);
  });
}

// products = M v and sum = M' M v, of the first count rows of M.
bool image(const Control& control, const double* M, int64_t count, int64_t d, const double* v, const Layout& s) {
  const int64_t chunks = (count + chunk - 1) / chunk;
  std::memset(s.partial, 0, static_cast<size_t>(chunks * d) * sizeof(double));
  const bool completed = for_rows(control, count, [&](int64_t i, int64_t item) {
    s.products[i] = dot(plain(M + i * d), plain(v), d);
    add_multiple(s.partial + item * d, s.products[i], M + i * d, d);
  });
  std::memset(s.sum, 0, static_cast<size_t>(d) * sizeof(double));
  for (int64_t item = 0; item < chunks; ++item) add_multiple(s.sum, 1, s.partial + item * d, d);
  return completed;
}

double norm(const double* v, int64_t d) { return __builtin_sqrt(dot(plain(v), plain(v), d)); }

}  // namespace

template <Isa isa, class T>
int64_t recursive_least_squares_scratch(const RecursiveLeastSquaresParams<T>& p, int) {
  Arena arena(nullptr);
  Layout(p.X.cols, arena);
  return arena.bytes();
}

template <Isa isa, class T>
bool recursive_least_squares(const RecursiveLeastSquaresParams<T>& p, void* scratch, const Control& control) {
  Arena arena(scratch);
  const int64_t d = p.X.cols;
  const Layout s(d, arena);
  int64_t& rank = p.counts[0];
  int64_t& taken = p.counts[1];
  for (taken = 0; taken < p.X.rows; ++taken) {
    for_values(row(p.X, taken), 0, d, [&](int64_t c, compute_t<T> value) { s.x[c] = static_cast<double>(value); });
    const double length = norm(s.x, d), scale = maximum(*p.scale, length);
    double left = 0;
    if (p.basis && rank < d) {
      std::memcpy(s.rest, s.x, static_cast<size_t>(d) * sizeof(double));
      for (int time = 0; time < 2; ++time) {
        if (!image(control, p.basis, rank, d, s.rest, s)) return false;
        add_multiple(s.rest, -1, s.sum, d);
      }
      left = norm(s.rest, d);
      if (left > p.doubt_low * scale && left <= p.doubt_high * scale) return true;
    }
    const bool grows = left > p.doubt_high * scale;
    if (!image(control, p.root, rank, d, s.x, s)) return false;
    // direction: what the written rows lose multiples of; gain = times * direction: what coef moves along.
    const double* direction = grows ? s.rest : s.sum;
    const double shrink = 1 / (1 + dot(plain(s.products), plain(s.products), rank));
    const double times = grows ? 1 / (left * left) : shrink;
    const double lost = grows ? times : shrink / (1 + __builtin_sqrt(shrink));
    if (!for_rows(control, rank, [&](int64_t i, int64_t) {
          add_multiple(p.root + i * d, -lost * s.products[i], direction, d);
        }))
      return false;
    if (grows) {
      for (int64_t c = 0; c < d; ++c) {
        p.root[rank * d + c] = times * s.rest[c];
        p.basis[rank * d + c] = s.rest[c] / left;
      }
      ++rank;
    }
    for (int64_t k = 0; k < p.C; ++k) {
      double* coef = p.coef + k * d;
      add_multiple(coef, (p.targets[taken * p.C + k] - dot(plain(coef), plain(s.x), d)) * times, direction, d);
    }
    *p.scale = scale;
  }
  return true;
}

PYAL_INSTANTIATE_KERNEL(recursive_least_squares, RecursiveLeastSquaresParams)

}  // namespace pyal::cpu
