#include "isa.hpp"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace pyal {
namespace {

constexpr const char* names[isa_count] = {"baseline", "avx2", "avx512", "avx512_bf16", "amx_bf16"};

#if defined(__x86_64__)
// The compilers' feature lists do not all know AMX, so its leaf is read by hand; the kernel hands out the tile registers
// only to a process that has asked (Linux 5.16), and refuses where the hypervisor does not pass them on.
bool amx_granted() {
#if defined(__linux__)
  unsigned eax = 7, ebx = 0, ecx = 0, edx = 0;
  __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
  const bool amx_tile = edx >> 24 & 1, amx_bf16 = edx >> 22 & 1;
  if (!amx_tile || !amx_bf16) return false;
  constexpr long arch_req_xcomp_perm = 0x1023, tile_data = 18;
  return syscall(SYS_arch_prctl, arch_req_xcomp_perm, tile_data) == 0;
#else
  return false;
#endif
}

bool runnable(Isa isa) {
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  const bool bf16 = avx512 && __builtin_cpu_supports("avx512bf16");
  switch (isa) {
    case Isa::baseline: return true;
    case Isa::avx2: return avx2;
    case Isa::avx512: return avx512;
    case Isa::avx512_bf16: return bf16;
    case Isa::amx_bf16: {
      static const bool granted = bf16 && amx_granted();
      return granted;
    }
  }
  return false;
}
#else
bool runnable(Isa isa) { return isa == Isa::baseline; }
#endif

Isa checked(const char* name, const char* source) {
  for (int i = 0; i < isa_count; ++i) {
    if (std::strcmp(name, names[i]) != 0) continue;
    const Isa isa = static_cast<Isa>(i);
    if (isa_available(isa)) return isa;
    throw std::invalid_argument(std::string(source) + "=" + name + ": this instruction set " +
                                (isa_compiled(isa) ? "cannot run on this machine" : "was not compiled in"));
  }
  throw std::invalid_argument(std::string(source) + "=" + name +
                              ": unknown instruction set; known: baseline, avx2, avx512, avx512_bf16, amx_bf16");
}

Isa best() {
  for (int i = isa_count - 1; i > 0; --i)
    if (isa_available(static_cast<Isa>(i))) return static_cast<Isa>(i);
  return Isa::baseline;
}

std::atomic<int> current{-1};

}  // namespace

const char* isa_name(Isa isa) { return names[static_cast<int>(isa)]; }

bool isa_compiled(Isa isa) {
  switch (isa) {
    case Isa::baseline: return true;
#ifdef PYAL_WITH_AVX2
    case Isa::avx2: return true;
#endif
#ifdef PYAL_WITH_AVX512
    case Isa::avx512: return true;
#endif
#ifdef PYAL_WITH_AVX512_BF16
    case Isa::avx512_bf16: return true;
#endif
#ifdef PYAL_WITH_AMX_BF16
    case Isa::amx_bf16: return true;
#endif
    default: return false;
  }
}

bool isa_available(Isa isa) { return isa_compiled(isa) && runnable(isa); }

Isa isa_in_use() {
  int isa = current.load(std::memory_order_relaxed);
  if (isa < 0) {
    const char* asked = std::getenv("PYAL_ISA");
    isa = static_cast<int>(asked && *asked ? checked(asked, "PYAL_ISA") : best());
    current.store(isa, std::memory_order_relaxed);
  }
  return static_cast<Isa>(isa);
}

void set_isa(const char* name) { current.store(static_cast<int>(checked(name, "isa")), std::memory_order_relaxed); }

}  // namespace pyal
