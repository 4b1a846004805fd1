"""The compiled kernels, one public function each: arrays in, plain arrays out, on the device where X lives.

X is anything `pyal.arrays.as_matrix` takes, or a `Matrix` that is passed on unchecked. On the CPU the outputs are NumPy
arrays, on a GPU torch tensors; positions are int64, squared distances float32, or float64 where X is (and where
float32 cannot hold the squares). `covered_by` and `candidates` are positions or boolean masks; `n_jobs` counts CPU
threads (None: all that this process may use) and never changes an answer. Contracts, ties and numerics stand in
csrc/kernels/*.hpp.
"""

from pyal.kernels.clustering import constrained_kmeans, kmeans, sup_scores
from pyal.kernels.covering import ball_cover, herding, k_center_greedy
from pyal.kernels.least_squares import recursive_least_squares
from pyal.kernels.lookahead import ntk_lookahead
from pyal.kernels.matrices import checked_matrix, sqnorms
from pyal.kernels.neighbours import knn, purity_radius, typicality
from pyal.kernels.sampling import d2_sampling
from pyal.kernels.tangent import ntk, ntk_outputs, ntk_weights

__all__ = [
    "ball_cover", "checked_matrix", "constrained_kmeans", "d2_sampling", "herding", "k_center_greedy", "kmeans", "knn",
    "ntk", "ntk_lookahead", "ntk_outputs", "ntk_weights", "purity_radius", "recursive_least_squares", "sqnorms",
    "sup_scores", "typicality",
]  # fmt: skip
