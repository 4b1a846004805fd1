// The one list of the kernels: the stem of a kernel's files and the struct that its contract hands over. The declarations,
// the two modules and CMakeLists.txt take their names from here.
#pragma once

#define PYAL_EVERY_KERNEL(line)                               \
  line(sqnorms, SqnormsParams)                                \
  line(knn, KnnParams)                                        \
  line(k_center_greedy, KCenterGreedyParams)                  \
  line(kmeans_assign, KmeansAssignParams)                     \
  line(constrained_assign, ConstrainedAssignParams)           \
  line(sup_scores, SupScoresParams)                           \
  line(d2_sampling, D2SamplingParams)                         \
  line(ball_cover, BallCoverParams)                           \
  line(herding, HerdingParams)                                \
  line(ntk_lookahead, NtkLookaheadParams)                     \
  line(ntk, NtkParams)                                        \
  line(recursive_least_squares, RecursiveLeastSquaresParams)
