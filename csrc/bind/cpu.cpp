#include "kernels.hpp"
#include "../cpu/isa.hpp"
#include "../cpu/parallel.hpp"

namespace pyal {
namespace {

namespace py = pybind11;

// Runs while the GIL is dropped; comes back for it to look for Ctrl-C and to tell the progress callback.
class CpuRuntime {
 public:
  explicit CpuRuntime(const py::dict& runtime)
      : progress_(runtime["progress"]), control_{runtime["threads"].cast<int>(), &CpuRuntime::poll, this} {
    if (control_.threads < 1) throw std::invalid_argument("threads must be at least 1");
  }
  const Control& control() const { return control_; }
  void raise() const { throw py::error_already_set(); }

 private:
  static bool poll(void* self, double fraction_done) {
    py::gil_scoped_acquire gil;
    if (PyErr_CheckSignals() != 0) return true;
    const py::object& progress = static_cast<CpuRuntime*>(self)->progress_;
    if (progress.is_none() || fraction_done < 0) return false;
    PyObject* result = PyObject_CallFunction(progress.ptr(), "d", fraction_done);
    if (!result) return true;
    Py_DECREF(result);
    return false;
  }

  py::object progress_;
  Control control_;
};

}  // namespace

namespace cpu {
#define PYAL_DECLARE(kernel, Params, widest)                 \
  template <Isa isa, class T>                                \
  int64_t kernel##_scratch(const Params<T>& p, int threads); \
  template <Isa isa, class T>                                \
  bool kernel(const Params<T>& p, void* scratch, const Control& control);
PYAL_EVERY_KERNEL(PYAL_DECLARE)
}  // namespace cpu

namespace {

// The copy of a kernel that runs where `isa` is in use: there is none wider than `widest`, and PYAL_ISAS may leave some out.
constexpr Isa copy_for(Isa isa, Isa widest) {
  Isa copy = isa < widest ? isa : widest;
#ifndef PYAL_WITH_AVX512
  if (copy == Isa::avx512) copy = Isa::avx2;
#endif
#ifndef PYAL_WITH_AVX2
  if (copy == Isa::avx2) copy = Isa::baseline;
#endif
  return copy;
}

template <Isa widest, class F>
auto with_copy(F&& f) {
  return with_isa([&]<Isa isa> { return f.template operator()<copy_for(isa, widest)>(); });
}

struct Cpu {
  using Runtime = CpuRuntime;
  template <class F>
  static auto with_dtype(const std::string& dtype, F&& f) {
    if (dtype == "float32") return f.template operator()<Any<float>>(Storage::own);
    if (dtype == "float64") return f.template operator()<Any<double>>(Storage::own);
    if (dtype == "float16") return f.template operator()<Any<float>>(Storage::half);
    if (dtype == "bfloat16") return f.template operator()<Any<float>>(Storage::bfloat16);
    bind::refuse_dtype(dtype);
  }
#define PYAL_RUN(kernel, Params, widest)                                                                                 \
  template <class T>                                                                                                     \
  static int64_t scratch(const Params<T>& p, const Runtime& runtime) {                                                   \
    return with_copy<Isa::widest>([&]<Isa isa> { return cpu::kernel##_scratch<isa, T>(p, runtime.control().threads); }); \
  }                                                                                                                      \
  template <class T>                                                                                                     \
  static void run(const Params<T>& p, void* scratch, const Runtime& runtime) {                                           \
    bool completed;                                                                                                      \
    {                                                                                                                    \
      py::gil_scoped_release release;                                                                                    \
      completed = with_copy<Isa::widest>([&]<Isa isa> { return cpu::kernel<isa, T>(p, scratch, runtime.control()); });   \
    }                                                                                                                    \
    if (!completed) runtime.raise();                                                                                     \
  }
  PYAL_EVERY_KERNEL(PYAL_RUN)
};

py::tuple names(bool (*wanted)(Isa)) {
  py::list found;
  for (int i = 0; i < isa_count; ++i)
    if (wanted(static_cast<Isa>(i))) found.append(isa_name(static_cast<Isa>(i)));
  return py::tuple(found);
}

}  // namespace
}  // namespace pyal

PYBIND11_MODULE(_cpu, m) {
  using namespace pyal;
  m.doc() = "CPU kernels of pyal; called by pyal.kernels";
  bind::def_kernels<Cpu>(m);
  m.def("isa_in_use", [] { return isa_name(isa_in_use()); });
  m.def("isas_compiled", [] { return names(isa_compiled); });
  m.def("isas_available", [] { return names(isa_available); });
  m.def("set_isa", [](const std::string& name) { set_isa(name.c_str()); }, pybind11::arg("name"));
  m.attr("d2_uniforms") = d2_uniforms;
  m.attr("lookahead_pending") = lookahead_pending;
  m.attr("lookahead_determined") =
      pybind11::dict(pybind11::arg("float32") = lookahead_determined<float>,
                     pybind11::arg("float64") = lookahead_determined<double>);
}
