// Addresses, sizes, a device and a stream come in; what they belong to is not known here. A runtime is a dict of
// device (its number) and stream (a cudaStream_t as an integer; 0 is the default stream). Nothing waits for the GPU.
#include <algorithm>
#include <sstream>
#include <string>

#include "../cuda/check.hpp"
#include "kernels.hpp"

#ifndef PYAL_CUDA_ARCHITECTURES
#error "PYAL_CUDA_ARCHITECTURES: the architectures that the kernels are compiled for, in CMake's words, as a string"
#endif

namespace pyal {

namespace cuda {
#define PYAL_DECLARE(kernel, Params, widest)          \
  template <class T>                          \
  int64_t kernel##_scratch(const Params<T>&); \
  template <class T>                          \
  void kernel(const Params<T>&, void* scratch, CUstream_st* stream);
PYAL_EVERY_KERNEL(PYAL_DECLARE)
}  // namespace cuda

namespace {

namespace py = pybind11;

struct CudaRuntime {
  int device;
  CUstream_st* stream;

  explicit CudaRuntime(const py::dict& runtime)
      : device(runtime["device"].cast<int>()),
        stream(reinterpret_cast<CUstream_st*>(runtime["stream"].cast<uintptr_t>())) {}
};

// Makes a device current and gives the caller back the one that was.
class CurrentDevice {
 public:
  explicit CurrentDevice(int device) {
    cuda::check(cudaGetDevice(&before_));
    changed_ = device != before_;
    if (changed_) cuda::check(cudaSetDevice(device));
  }
  ~CurrentDevice() {
    if (changed_) cudaSetDevice(before_);
  }
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;

 private:
  int before_ = 0;
  bool changed_ = false;
};

struct Cuda {
  using Runtime = CudaRuntime;
  template <class F>
  static auto with_dtype(const std::string& dtype, F&& f) {
    if (dtype == "float32") return f.template operator()<float>(Storage::own);
    if (dtype == "float64") return f.template operator()<double>(Storage::own);
    if (dtype == "float16") return f.template operator()<half>(Storage::own);
    if (dtype == "bfloat16") return f.template operator()<bfloat16>(Storage::own);
    bind::refuse_dtype(dtype);
  }
#define PYAL_RUN(kernel, Params, widest)                                                       \
  template <class T>                                                                   \
  static int64_t scratch(const Params<T>& p, const Runtime&) {                         \
    return cuda::kernel##_scratch(p);                                                  \
  }                                                                                    \
  template <class T>                                                                   \
  static void run(const Params<T>& p, void* scratch, const Runtime& runtime) {         \
    py::gil_scoped_release release;                                                    \
    const CurrentDevice device(runtime.device);                                        \
    cuda::kernel(p, scratch, runtime.stream);                                          \
  }
  PYAL_EVERY_KERNEL(PYAL_RUN)
};

std::string version(int number) { return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10); }

// Never raises: without a driver its version is None and there are no devices.
py::dict build_info() {
  py::list architectures;
  std::string words = PYAL_CUDA_ARCHITECTURES;
  std::replace(words.begin(), words.end(), ';', ' ');
  std::istringstream stream(words);
  for (std::string word; stream >> word;) architectures.append(word);
  int runtime = 0, driver = 0, devices = 0;
  cudaRuntimeGetVersion(&runtime);
  if (cudaDriverGetVersion(&driver) != cudaSuccess) driver = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess) devices = 0;
  cudaGetLastError();  // forget what the questions left behind
  py::dict info;
  info["cuda"] = version(CUDART_VERSION);
  info["architectures"] = architectures;
  info["runtime"] = version(runtime);
  info["driver"] = driver > 0 ? py::object(py::str(version(driver))) : py::object(py::none());
  info["devices"] = devices;
  return info;
}

}  // namespace
}  // namespace pyal

PYBIND11_MODULE(_cuda, m) {
  using namespace pyal;
  m.doc() = "CUDA kernels of pyal; called by pyal.kernels";
  bind::def_kernels<Cuda>(m);
  m.def("build_info", build_info);
  m.attr("d2_uniforms") = d2_uniforms;
}
