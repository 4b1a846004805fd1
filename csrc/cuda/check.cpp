#include "check.hpp"

#include <stdexcept>
#include <string>

namespace pyal::cuda {

void fail(cudaError_t status, std::source_location where) {
  throw std::runtime_error(std::string("CUDA: ") + cudaGetErrorString(status) + " (" + where.file_name() + ":" +
                           std::to_string(where.line()) + ")");
}

}  // namespace pyal::cuda
