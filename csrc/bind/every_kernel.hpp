// The one list of the kernels: the stem of a kernel's files, the struct that its contract hands over, and the widest
// instruction set that its code makes use of: the low-precision ones are for filters (cpu/tiles.hpp), and a kernel without one
// is not compiled for them. The declarations, the two modules and csrc/CMakeLists.txt take the kernels from here.
#pragma once

#define PYAL_EVERY_KERNEL(line)                                      \
  line(sqnorms, SqnormsParams, avx512)                               \
  line(knn, KnnParams, amx_bf16)                                     \
  line(k_center_greedy, KCenterGreedyParams, amx_bf16)               \
  line(kmeans_assign, KmeansAssignParams, amx_bf16)                  \
  line(constrained_assign, ConstrainedAssignParams, avx512)          \
  line(sup_scores, SupScoresParams, avx512)                          \
  line(d2_sampling, D2SamplingParams, amx_bf16)                      \
  line(ball_cover, BallCoverParams, amx_bf16)                        \
  line(herding, HerdingParams, amx_bf16)                             \
  line(ntk_lookahead, NtkLookaheadParams, avx512)                    \
  line(ntk, NtkParams, avx512)                                       \
  line(recursive_least_squares, RecursiveLeastSquaresParams, avx512) \
  line(mixture_entropies, MixtureEntropiesParams, avx512)            \
  line(rank_one_gains, RankOneGainsParams, avx512)                   \
  line(radius_groups, RadiusGroupsParams, amx_bf16)
