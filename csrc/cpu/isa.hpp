// Instruction sets: which exist, which this CPU can run, which one is in use. Every kernel is a template over Isa whose
// instances are compiled one per object library with that set's flags (CMakeLists.txt); with_isa picks one outside all
// loops. Only isa.cpp asks the CPU.
#pragma once

namespace pyal {

enum class Isa : int { baseline, avx2, avx512, avx512_bf16, amx_bf16 };
inline constexpr int isa_count = 5;

const char* isa_name(Isa isa);
bool isa_compiled(Isa isa);
bool isa_available(Isa isa);  // compiled, and this CPU and its operating system can run it

// The set in use: PYAL_ISA if given, else the last available one. Throws std::invalid_argument with one sentence where
// PYAL_ISA or the argument names a set that is unknown, not compiled or not runnable here.
Isa isa_in_use();
void set_isa(const char* name);

template <class F>
auto with_isa(F&& f) {
  switch (isa_in_use()) {
#ifdef PYAL_WITH_AMX_BF16
    case Isa::amx_bf16: return f.template operator()<Isa::amx_bf16>();
#endif
#ifdef PYAL_WITH_AVX512_BF16
    case Isa::avx512_bf16: return f.template operator()<Isa::avx512_bf16>();
#endif
#ifdef PYAL_WITH_AVX512
    case Isa::avx512: return f.template operator()<Isa::avx512>();
#endif
#ifdef PYAL_WITH_AVX2
    case Isa::avx2: return f.template operator()<Isa::avx2>();
#endif
    default: return f.template operator()<Isa::baseline>();
  }
}

}  // namespace pyal
