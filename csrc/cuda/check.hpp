// Turns what the CUDA runtime answers into an exception that says where it was asked.
#pragma once
#include <cuda_runtime_api.h>

#include <source_location>

namespace pyal::cuda {

[[noreturn]] void fail(cudaError_t status, std::source_location where);  // std::runtime_error

inline void check(cudaError_t status, std::source_location where = std::source_location::current()) {
  if (status != cudaSuccess) fail(status, where);
}

}  // namespace pyal::cuda
