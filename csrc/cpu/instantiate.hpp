// The instances of a CPU kernel that this translation unit provides: PYAL_TARGET is the instruction set it is compiled for.
#pragma once
#include "isa.hpp"
#include "parallel.hpp"
#include "../storage.hpp"

#define PYAL_INSTANTIATE_TYPE(kernel, Params, T)                                           \
  template int64_t kernel##_scratch<Isa::PYAL_TARGET, T>(const Params<T>&, int threads); \
  template bool kernel<Isa::PYAL_TARGET, T>(const Params<T>&, void* scratch, const Control&);

#define PYAL_INSTANTIATE_KERNEL(kernel, Params)     \
  PYAL_INSTANTIATE_TYPE(kernel, Params, Any<float>) \
  PYAL_INSTANTIATE_TYPE(kernel, Params, Any<double>)
