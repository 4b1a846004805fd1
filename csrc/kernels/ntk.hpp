// Neural tangent kernel of ReLU networks with one output, or averaged over outputs: K (n, m), and all pairs at once.
//
// empirical: f = W2 relu(a) + b2, a = W1 x + b1, at given weights. With v_h = mean_c W2_ch^2 the sum over the parameters of
// products of derivatives, averaged over the outputs c, is (Jacot et al. 2018, arXiv:1806.07572)
//
//   K(x, z) = relu(a_x) . relu(a_z) + 1 + (x . z + 1) sum_h v_h [a_xh > 0] [a_zh > 0]
//
// infinite: the limit of infinite width, `depth` hidden layers, weights of variance w / fan-in, biases of variance b:
//
//   S_0 = w x.z / d + b,  T_0 = S_0;   per layer, with g = sqrt(S(x, x) S(z, z)) and cos a = S(x, z) / g of the last,
//   S_l = w/2 g k1(a) + b,  T_l = S_l + w/2 k0(a) T_(l-1);   k0 = (pi - a) / pi,  k1 = (sin a + (pi - a) cos a) / pi
//
// and K = T_depth. roots[l] holds sqrt(S_l(x, x)) of every row: S_l(x, x) = w/2 S_(l-1)(x, x) + b.
//
// Numerics, empirical: three sums over columns in compute_t<T>, in one order for all pairs. The pre-activations come in, since
// which of them are above 0 must not depend on the rounding of float: the caller computes them in double.
//
// Numerics, infinite: in double. An angle from arccos of a product is noise below 1e-8 even in double, so what is carried from
// layer to layer is r = 2 (1 - cos a), without cancellation. It begins as the squared difference of the rows (with the bias
// as one more column), each divided by its norm: exactly 0 for equal rows. Where r is near 4 it is 4 less the squared sum of
// the two. A layer turns it into, with A, B = w/2 S_(l-1) of the two rows,
//
//   r' = (2 b (sqrt A - sqrt B)^2 / (D + sqrt(AB) + b) + sqrt(AB) (r - 2/pi (sin a - a cos a))) / D,
//   D = sqrt((A + b) (B + b))
//
// Rows whose S(x, x) is 0 (zero rows without a bias) have K = 0 with all.
//
// Z == nullptr: X with itself, K (n, n) exactly symmetric, every pair computed once. Scratch: packed blocks per thread. Nothing
// of size n x m but K is stored.
#pragma once
#include "../storage.hpp"

namespace pyal {

enum class NtkKind : int { empirical, infinite };

template <class T>
struct NtkParams {
  using V = compute_t<T>;
  Matrix<T> X;      // (n, d)
  Matrix<T> Z;      // (m, d); data == nullptr: X itself, m = n
  NtkKind kind;
  // empirical; of X with itself, z_hidden is x_hidden
  int64_t width;
  const V* x_hidden;       // (n, width) pre-activations a
  const V* z_hidden;       // (m, width)
  const V* output_weight;  // (width,) v
  // infinite; of X with itself, z_roots is x_roots
  int64_t depth;
  double weight_variance, bias_variance;
  const double* x_roots;  // (depth + 1, n)
  const double* z_roots;  // (depth + 1, m)
  V* K;  // (n, m) out
};

}  // namespace pyal
