// What the host asks of a GPU. Everything is checked where it is asked for, and an error names that place.
#pragma once
#include <limits>

#include "check.hpp"
#include "hardware.cuh"

namespace pyal::cuda {

// A stream, and where in the sources something was asked of it.
struct Queue {
  CUstream_st* stream;
  std::source_location asked;

  Queue(CUstream_st* of, std::source_location here = std::source_location::current()) : stream(of), asked(here) {}
};

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, Queue queue, const Arguments&... arguments) {
  kernel<<<grid, block, 0, queue.stream>>>(arguments...);
  check(cudaGetLastError(), queue.asked);
}

template <class V>
void set_bytes(V* values, int64_t count, int byte, Queue queue) {
  check(cudaMemsetAsync(values, byte, static_cast<size_t>(count) * sizeof(V), queue.stream), queue.asked);
}

inline constexpr int max_partials = 1024;  // blocks of a grid that ends in grid_best

__host__ __device__ constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

__host__ __device__ constexpr int64_t clamp(int64_t value, int64_t least, int64_t most) {
  return value < least ? least : value > most ? most : value;
}

// Blocks for so many items, capped where a kernel strides over its items.
inline unsigned grid_for(int64_t items, int64_t per_block, int64_t cap = std::numeric_limits<int>::max()) {
  return static_cast<unsigned>(clamp(ceil_div(items, per_block), 1, cap));
}

// Carves 256-byte aligned pieces. With base == nullptr it only counts, which is how K_scratch asks for its size.
class Arena {
 public:
  explicit Arena(void* base) : base_(reinterpret_cast<uintptr_t>(base)) {}

  template <class V>
  V* take(int64_t count) {
    V* piece = reinterpret_cast<V*>(base_ + static_cast<uintptr_t>(bytes_));
    bytes_ += ceil_div(count * static_cast<int64_t>(sizeof(V)), 256) * 256;
    return piece;
  }

  int64_t bytes() const { return bytes_; }

 private:
  uintptr_t base_;
  int64_t bytes_ = 0;
};

// The instances of a CUDA kernel: the storage types, as on the CPU.
#define PYAL_INSTANTIATE_CUDA_TYPE(kernel, Params, T)    \
  template int64_t kernel##_scratch(const Params<T>&); \
  template void kernel(const Params<T>&, void* scratch, CUstream_st* stream);

#define PYAL_INSTANTIATE_CUDA_KERNEL(kernel, Params)   \
  PYAL_INSTANTIATE_CUDA_TYPE(kernel, Params, float)  \
  PYAL_INSTANTIATE_CUDA_TYPE(kernel, Params, double) \
  PYAL_INSTANTIATE_CUDA_TYPE(kernel, Params, half)   \
  PYAL_INSTANTIATE_CUDA_TYPE(kernel, Params, bfloat16)

}  // namespace pyal::cuda
