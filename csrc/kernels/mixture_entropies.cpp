// The values of some candidates, a row for each of their classes, are widened to double once. Many mixtures are products with
// them, a chunk after the other, then one pass over the chunk in cache; few are summed up in vectors of rows.
#include "mixture_entropies.hpp"

#include "../cpu/exp_log.hpp"
#include "../cpu/instantiate.hpp"
#include "../cpu/tiles.hpp"

namespace pyal::cpu {
namespace {

using K = Product<double>;

constexpr int64_t block = 256, chunk = 256;  // values of a pass, and mixtures
constexpr int64_t few = 4;

inline vec<double> x_log_x(vec<double> x) {
  const vec<double> counts = x >= splat(0x1p-1022) ? x : splat(1.0);
  return counts * logarithm(counts);
}

template <class T>
struct Layout {
  double* mixtures;  // packed as the columns of products
  double* weights;   // padded with zeros
  double* values;    // (threads, passes, block)
  double* packed;    // (threads) the same as the rows of products
  double* products;  // (threads, K::rows, chunk)
  double* sums;      // (threads, block)

  Layout(const MixtureEntropiesParams<T>& p, int threads, Arena& arena) {
    const int64_t columns = round_up(p.m, K::cols), passes = p.X.rows;
    const bool many = p.mixtures && p.m > few;
    mixtures = arena.take<double>(many ? columns * passes : 0);
    weights = arena.take<double>(many ? columns : 0);
    values = arena.take<double>(threads * passes * block);
    packed = arena.take<double>(many ? threads * passes * round_up(block, K::rows) : 0);
    products = arena.take<double>(many ? threads * K::rows * chunk : 0);
    sums = arena.take<double>(threads * block);
  }
};

// Block by block of values, on one thread. sums[r]: of value r, over all mixtures.
template <class T>
struct Worker {
  const MixtureEntropiesParams<T>& p;
  const double* mixtures;
  const double* weights;
  double* values;
  double* packed;
  double* products;
  double* sums;
  int64_t passes = p.X.rows;

  Worker(const MixtureEntropiesParams<T>& params, const Layout<T>& s, int worker)
      : p(params),
        mixtures(s.mixtures),
        weights(s.weights),
        values(s.values + worker * p.X.rows * block),
        packed(s.packed + worker * p.X.rows * round_up(block, K::rows)),
        products(s.products + worker * K::rows * chunk),
        sums(s.sums + worker * block) {}

  // Values [first, first + count) of the candidates' classes; zeros behind them.
  void read(int64_t first, int64_t count) {
    for (int64_t t = 0; t < passes; ++t) {
      double* to = values + t * block;
      const Row<T> pass = row(p.X, t);
      for (int64_t r = 0; r < count;) {
        int64_t column = first + r, run = count - r;
        if (p.candidates.data) {
          const int64_t c = column % p.classes;
          run = at_most(run, p.classes - c);
          column = p.candidates.data[column / p.classes] * p.classes + c;
        }
        for_values(pass, column, column + run, [&](int64_t c, compute_t<T> x) { to[r + c - column] = static_cast<double>(x); });
        r += run;
      }
      for (int64_t r = count; r < block; ++r) to[r] = 0;
    }
  }

  void passes_alone(int64_t r) {
    vec<double> sum = {};
    for (int64_t t = 0; t < passes; ++t) sum = multiply_add(splat(p.weights[t]), x_log_x(load(values + t * block + r)), sum);
    store(sums + r, sum);
  }

  void few_mixtures(int64_t r) {
    vec<double> sum = {};
    for (int64_t j = 0; j < p.m; ++j) {
      vec<double> q = {};
      for (int64_t t = 0; t < passes; ++t) q = multiply_add(splat(p.mixtures[t * p.m + j]), load(values + t * block + r), q);
      sum = multiply_add(splat(p.weights[j]), x_log_x(q), sum);
    }
    store(sums + r, sum);
  }

  void many_mixtures(int64_t count) {
    for (int64_t g = 0; g < count; g += K::rows)
      for (int64_t t = 0; t < passes; ++t)
        for (int64_t r = 0; r < K::rows; ++r)
          packed[g * passes + t * K::rows + r] = g + r < count ? values[t * block + g + r] : 0;
    for (int64_t r = 0; r < count; ++r) sums[r] = 0;
    for (int64_t j0 = 0; j0 < p.m; j0 += chunk) {
      const int64_t columns = round_up(at_most(chunk, p.m - j0), K::cols);
      const Panel<K> panel = {const_cast<double*>(mixtures) + j0 * passes, nullptr, nullptr, 0, columns};
      for (int64_t g = 0; g < count; g += K::rows) {
        multiply<K>(packed + g * passes, panel, passes, products, chunk);
        for (int64_t r = 0; r < at_most(K::rows, count - g); ++r) {
          vec<double> sum = {};
          for (int64_t j = 0; j < columns; j += lanes<double>)
            sum = multiply_add(load(weights + j0 + j), x_log_x(load(products + r * chunk + j)), sum);
          sums[g + r] += sum_lanes<double>(sum);
        }
      }
    }
  }

  void run(int64_t first, int64_t count) {
    read(first, count);
    if (p.mixtures && p.m > few) return many_mixtures(count);
    for (int64_t r = 0; r < count; r += lanes<double>) p.mixtures ? few_mixtures(r) : passes_alone(r);
  }
};

template <class T>
void pack_mixtures(const MixtureEntropiesParams<T>& p, const Layout<T>& s) {
  for (int64_t j = 0; j < round_up(p.m, K::cols); ++j) {
    s.weights[j] = j < p.m ? p.weights[j] : 0;
    double* to = s.mixtures + j / K::cols * K::cols * p.X.rows + j % K::cols;
    for (int64_t t = 0; t < p.X.rows; ++t) to[t * K::cols] = j < p.m ? p.mixtures[t * p.m + j] : 0;
  }
}

}  // namespace

template <Isa isa, class T>
int64_t mixture_entropies_scratch(const MixtureEntropiesParams<T>& p, int threads) {
  Arena arena(nullptr);
  Layout<T>(p, threads, arena);
  return arena.bytes();
}

template <Isa isa, class T>
bool mixture_entropies(const MixtureEntropiesParams<T>& p, void* scratch, const Control& control) {
  Arena arena(scratch);
  const Layout<T> s(p, control.threads, arena);
  if (p.mixtures && p.m > few) pack_mixtures(p, s);
  const int64_t n = p.candidates.data ? p.candidates.size : p.X.cols / p.classes;
  const int64_t at_once = at_least(1, block / p.classes);
  return parallel_for(control, (n + at_once - 1) / at_once, [&](int64_t item, int number) {
    Worker<T> worker(p, s, number);
    const int64_t begin = item * at_once * p.classes, end = at_most((item + 1) * at_once, n) * p.classes;
    for (int64_t i = begin / p.classes; i < end / p.classes; ++i) p.entropies[i] = 0;
    for (int64_t first = begin; first < end; first += block) {
      const int64_t count = at_most(block, end - first);
      worker.run(first, count);
      for (int64_t r = 0; r < count; ++r) p.entropies[(first + r) / p.classes] -= worker.sums[r];
    }
  }, 0, 1);
}

PYAL_INSTANTIATE_KERNEL(mixture_entropies, MixtureEntropiesParams)

}  // namespace pyal::cpu
