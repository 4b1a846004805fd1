// All that a GPU offers beyond C++, each behind a function, and nowhere else: threads that wait for each other and exchange
// values, memory that several blocks write, numbers as bits. All threads of a warp take part in what begins with lane,
// lanes or warp, and all threads of a block in what begins with block.
#pragma once
#include "../storage.hpp"

namespace pyal::cuda {

inline constexpr int warp_size = 32;
inline constexpr int threads = 256;  // of a block, unless a launch says otherwise
inline constexpr int warps = threads / warp_size;

// ---- threads ----

inline constexpr unsigned every_lane = 0xffffffffu;

__device__ inline void warp_sync() { __syncwarp(); }
__device__ inline void block_sync() { __syncthreads(); }

// block_sync, and for how many threads of the block `holds` is true; or whether for any.
__device__ inline int block_count(bool holds) { return __syncthreads_count(holds); }
__device__ inline bool block_any(bool holds) { return __syncthreads_or(holds) != 0; }

// A bit per lane, the lowest for lane 0.
__device__ inline unsigned lanes_where(bool holds) { return __ballot_sync(every_lane, holds); }
__device__ inline bool lanes_any(bool holds) { return __any_sync(every_lane, holds) != 0; }
__device__ inline unsigned lanes_with(int64_t value) {
  return __match_any_sync(every_lane, static_cast<long long>(value));
}
__device__ inline int lowest_bit(unsigned bits) { return __ffs(static_cast<int>(bits)) - 1; }
__device__ inline int count_bits(unsigned bits) { return __popc(bits); }

// The value of another lane: the one given, the one whose number differs in the bits of `bits`, the one `below` lower
// (a lane that has none keeps its own).
template <class V>
__device__ inline V lane_value(V value, int lane) {
  return __shfl_sync(every_lane, value, lane);
}
template <class V>
__device__ inline V lane_across(V value, int bits) {
  return __shfl_xor_sync(every_lane, value, bits);
}
template <class V>
__device__ inline V lane_below(V value, int below) {
  return __shfl_up_sync(every_lane, value, below);
}

// ---- memory that other blocks write too ----

// What this thread wrote before is seen by all who see what it writes after.
__device__ inline void write_through() { __threadfence(); }

// Not from a cache that other blocks do not write to.
template <class V>
__device__ inline V read_fresh(const V* at) {
  return *static_cast<const volatile V*>(at);
}

// Atomic; what was there before comes back.
__device__ inline int atomic_add(int* at, int value) { return atomicAdd(at, value); }
__device__ inline unsigned atomic_add(unsigned* at, unsigned value) { return atomicAdd(at, value); }
__device__ inline int64_t atomic_add(int64_t* at, int64_t value) {
  return static_cast<int64_t>(
      atomicAdd(reinterpret_cast<unsigned long long*>(at), static_cast<unsigned long long>(value)));
}
__device__ inline uint64_t atomic_min(uint64_t* at, uint64_t value) {
  return atomicMin(reinterpret_cast<unsigned long long*>(at), static_cast<unsigned long long>(value));
}
__device__ inline uint64_t atomic_max(uint64_t* at, uint64_t value) {
  return atomicMax(reinterpret_cast<unsigned long long*>(at), static_cast<unsigned long long>(value));
}

// Puts `value` where `expected` stands; what was there before comes back either way.
__device__ inline int64_t atomic_exchange_if(int64_t* at, int64_t expected, int64_t value) {
  return static_cast<int64_t>(atomicCAS(reinterpret_cast<unsigned long long*>(at),
                                        static_cast<unsigned long long>(expected),
                                        static_cast<unsigned long long>(value)));
}

// ---- numbers as bits ----

__device__ inline uint32_t bits_of(float value) { return __float_as_uint(value); }
__device__ inline uint64_t bits_of(double value) { return static_cast<uint64_t>(__double_as_longlong(value)); }
__device__ inline float from_bits(uint32_t bits) { return __uint_as_float(bits); }
__device__ inline double from_bits(uint64_t bits) { return __longlong_as_double(static_cast<long long>(bits)); }

__device__ inline float widen(float value) { return value; }
__device__ inline double widen(double value) { return value; }
__device__ inline float widen(bfloat16 value) { return from_bits(static_cast<uint32_t>(value.bits) << 16); }
// As an instruction: cuda_fp16.h costs a second for each architecture of each kernel.
__device__ inline float widen(half value) {
  float wide;
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(value.bits));
  return wide;
}

}  // namespace pyal::cuda
