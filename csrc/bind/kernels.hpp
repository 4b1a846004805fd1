// What both compiled modules export, written once: for each kernel K
//   K_scratch(dtype, arguments, runtime) -> bytes        K(dtype, arguments, scratch, runtime)
// `arguments` is a dict of the fields of KParams: addresses as integers (0 or None: nullptr), sizes and numbers as they are.
// The module says what a runtime is, how a kernel is run, and what T its copies are compiled for: Device::Runtime,
// Device::scratch, Device::run, Device::with_dtype.
// Nothing is checked here but the presence of the fields: pyal/kernels.py owns the shapes.
#pragma once
#include <pybind11/pybind11.h>

#include <stdexcept>
#include <string>
#include <type_traits>

#include "../kernels/ball_cover.hpp"
#include "../kernels/constrained_assign.hpp"
#include "../kernels/d2_sampling.hpp"
#include "../kernels/herding.hpp"
#include "../kernels/k_center_greedy.hpp"
#include "../kernels/kmeans_assign.hpp"
#include "../kernels/knn.hpp"
#include "../kernels/mixture_entropies.hpp"
#include "../kernels/ntk_lookahead.hpp"
#include "../kernels/ntk.hpp"
#include "../kernels/radius_groups.hpp"
#include "../kernels/rank_one_gains.hpp"
#include "../kernels/recursive_least_squares.hpp"
#include "../kernels/sqnorms.hpp"
#include "../kernels/sup_scores.hpp"
#include "every_kernel.hpp"

namespace pyal::bind {

namespace py = pybind11;

class Arguments {
 public:
  Arguments(py::dict fields, Storage storage) : fields_(std::move(fields)), storage_(storage) {}
  template <class V>
  V* pointer(const char* name) const {
    const py::object value = fields_[name];
    return value.is_none() ? nullptr : reinterpret_cast<V*>(value.cast<uintptr_t>());
  }
  int64_t integer(const char* name) const { return fields_[name].cast<int64_t>(); }
  double real(const char* name) const { return fields_[name].cast<double>(); }
  template <class T>
  Matrix<T> matrix(const char* name = "X", const char* rows = "n", const char* factor = "factor") const {
    Matrix<T> X{};
    X.data = pointer<std::remove_pointer_t<decltype(X.data)>>(name);
    X.rows = integer(rows);
    X.cols = integer("d");
    if (factor) X.factor = pointer<const compute_t<T>>(factor);
    if constexpr (requires { X.storage; }) X.storage = storage_;
    return X;
  }
  Positions positions(const char* name, const char* size) const {
    return {pointer<const int64_t>(name), integer(size)};
  }

 private:
  py::dict fields_;
  Storage storage_;
};

template <class T>
void read(const Arguments& a, SqnormsParams<T>& p) {
  p = {a.matrix<T>(), a.pointer<double>("sqnorms")};
}
template <class T>
void read(const Arguments& a, KnnParams<T>& p) {
  p = {a.matrix<T>(),
       a.matrix<T>("queries", "m", "queries_factor"),
       a.integer("k"),
       a.pointer<const int64_t>("order"),
       a.pointer<const int64_t>("group_start"),
       a.integer("n_groups"),
       a.pointer<const int64_t>("labels"),
       a.pointer<compute_t<T>>("sqdist"),
       a.pointer<int64_t>("positions")};
}
template <class T>
void read(const Arguments& a, KCenterGreedyParams<T>& p) {
  p = {a.matrix<T>(),
       a.integer("batch_size"),
       a.positions("covered", "n_covered"),
       a.positions("candidates", "n_candidates"),
       a.integer("start"),
       a.pointer<int64_t>("positions"),
       a.pointer<compute_t<T>>("sqradius"),
       a.pointer<compute_t<T>>("coverage")};
}
template <class T>
void read(const Arguments& a, KmeansAssignParams<T>& p) {
  using V = compute_t<T>;
  p = {a.matrix<T>(),
       a.pointer<const V>("centers"),
       a.integer("k"),
       a.pointer<const V>("moved"),
       a.pointer<const int64_t>("fixed"),
       a.pointer<int64_t>("assignment"),
       a.pointer<V>("upper"),
       a.pointer<V>("lower"),
       a.pointer<double>("sums"),
       a.pointer<int64_t>("counts"),
       a.pointer<V>("sqdist")};
}
template <class T>
void read(const Arguments& a, ConstrainedAssignParams<T>& p) {
  using V = compute_t<T>;
  p = {a.matrix<T>(),
       a.pointer<const V>("centers"),
       a.integer("k"),
       a.pointer<const int64_t>("order"),
       a.pointer<const int64_t>("colour"),
       a.integer("n_colours"),
       a.pointer<const int64_t>("conflict_start"),
       a.pointer<const int64_t>("conflicts"),
       a.pointer<const double>("weight"),
       a.integer("again"),
       a.pointer<int64_t>("assignment"),
       a.pointer<uint8_t>("relaxed")};
}
template <class T>
void read(const Arguments& a, SupScoresParams<T>& p) {
  using V = compute_t<T>;
  p = {a.matrix<T>(),
       a.pointer<const V>("centers"),
       a.integer("k"),
       a.pointer<const int64_t>("assignment"),
       a.real("temperature"),
       a.pointer<V>("scores")};
}
template <class T>
void read(const Arguments& a, D2SamplingParams<T>& p) {
  p = {a.matrix<T>(),
       a.pointer<const compute_t<T>>("q"),
       a.integer("q_cols"),
       a.integer("batch_size"),
       a.positions("covered", "n_covered"),
       a.positions("candidates", "n_candidates"),
       static_cast<D2First>(a.integer("first")),
       a.real("first_uniform"),
       a.pointer<const double>("uniforms"),
       a.pointer<const double>("importance"),
       a.pointer<int64_t>("positions")};
}
template <class T>
void read(const Arguments& a, BallCoverParams<T>& p) {
  p = {a.matrix<T>(),
       a.integer("batch_size"),
       a.real("sqradius"),
       a.positions("covered", "n_covered"),
       a.positions("candidates", "n_candidates"),
       a.pointer<int64_t>("positions"),
       a.pointer<int64_t>("gains"),
       a.pointer<uint8_t>("is_covered"),
       a.pointer<int64_t>("bounds")};
}
template <class T>
void read(const Arguments& a, HerdingParams<T>& p) {
  p = {a.matrix<T>(),
       a.integer("batch_size"),
       static_cast<HerdingKernel>(a.integer("kind")),
       a.real("bandwidth"),
       a.pointer<const double>("weights"),
       a.positions("covered", "n_covered"),
       a.positions("candidates", "n_candidates"),
       a.pointer<int64_t>("positions"),
       a.pointer<double>("gains"),
       a.pointer<compute_t<T>>("best"),
       a.pointer<double>("bounds")};
}
template <class T>
void read(const Arguments& a, NtkParams<T>& p) {
  using V = compute_t<T>;
  p = {a.matrix<T>(),
       a.matrix<T>("Z", "m", nullptr),
       static_cast<NtkKind>(a.integer("kind")),
       a.integer("width"),
       a.pointer<const V>("x_hidden"),
       a.pointer<const V>("z_hidden"),
       a.pointer<const V>("output_weight"),
       a.integer("depth"),
       a.real("weight_variance"),
       a.real("bias_variance"),
       a.pointer<const double>("x_roots"),
       a.pointer<const double>("z_roots"),
       a.pointer<V>("K")};
}

template <class T>
void read(const Arguments& a, NtkLookaheadParams<T>& p) {
  p = {a.matrix<T>(),
       a.pointer<const double>("f"),
       a.integer("classes"),
       a.pointer<const int64_t>("labels"),
       a.pointer<const int64_t>("targets"),
       a.positions("labeled", "n_labeled"),
       a.positions("candidates", "n_candidates"),
       a.integer("batch_size"),
       static_cast<LookaheadObjective>(a.integer("objective")),
       a.real("ridge"),
       a.pointer<int64_t>("positions"),
       a.pointer<double>("objectives"),
       a.pointer<double>("scores"),
       a.pointer<int64_t>("indefinite")};
}
template <class T>
void read(const Arguments& a, RecursiveLeastSquaresParams<T>& p) {
  p = {a.matrix<T>(),
       a.pointer<const double>("targets"),
       a.integer("C"),
       a.pointer<double>("root"),
       a.pointer<double>("basis"),
       a.pointer<double>("coef"),
       a.real("doubt_low"),
       a.real("doubt_high"),
       a.pointer<double>("scale"),
       a.pointer<int64_t>("counts")};
}
template <class T>
void read(const Arguments& a, MixtureEntropiesParams<T>& p) {
  p = {a.matrix<T>("X", "n", nullptr),
       a.integer("classes"),
       a.pointer<const double>("mixtures"),
       a.pointer<const double>("weights"),
       a.integer("m"),
       a.positions("candidates", "n_candidates"),
       a.pointer<double>("entropies")};
}
template <class T>
void read(const Arguments& a, RankOneGainsParams<T>& p) {
  p = {a.matrix<T>("X", "n", nullptr),
       a.pointer<const double>("errors"),
       a.pointer<const double>("scores"),
       a.pointer<const int64_t>("labels"),
       a.integer("C"),
       a.real("scale"),
       a.real("cap"),
       a.pointer<int64_t>("correct"),
       a.pointer<double>("loss")};
}
template <class T>
void read(const Arguments& a, RadiusGroupsParams<T>& p) {
  p = {a.matrix<T>(), a.real("sqradius"), a.pointer<int64_t>("first")};
}

[[noreturn]] inline void refuse_dtype(const std::string& dtype) {
  throw std::invalid_argument("dtype " + dtype + ": float32, float64, float16 or bfloat16 expected");
}

template <class Device, template <class> class Params>
void def_kernel(py::module_& m, const std::string& name) {
  m.def((name + "_scratch").c_str(), [](const std::string& dtype, py::dict arguments, py::dict runtime) {
    return Device::with_dtype(dtype, [&]<class T>(Storage storage) -> int64_t {
      Params<T> p{};
      read(Arguments(arguments, storage), p);
      return Device::scratch(p, typename Device::Runtime(runtime));
    });
  });
  m.def(name.c_str(), [](const std::string& dtype, py::dict arguments, uintptr_t scratch, py::dict runtime) {
    Device::with_dtype(dtype, [&]<class T>(Storage storage) {
      Params<T> p{};
      read(Arguments(arguments, storage), p);
      typename Device::Runtime how(runtime);
      Device::run(p, reinterpret_cast<void*>(scratch), how);
    });
  });
}

template <class Device>
void def_kernels(py::module_& m) {
#define PYAL_DEFINE(kernel, Params, widest) def_kernel<Device, Params>(m, #kernel);
  PYAL_EVERY_KERNEL(PYAL_DEFINE)
}

}  // namespace pyal::bind
