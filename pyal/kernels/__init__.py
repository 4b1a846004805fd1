"""The compiled kernels, one public function for each: arrays come in, plain arrays come out where X lives.

X: whatever `pyal.arrays.as_matrix` takes. A `Matrix` is passed on unchecked.
covered_by: positions or a boolean mask of the rows that count as chosen before the first pick.
candidates: positions or a boolean mask of the rows that may be picked. None: all rows.
random_state: None, an int, a Generator or a RandomState.
n_jobs: CPU threads. None: all that this process may use. Their number never changes an answer.

On the CPU outputs are NumPy arrays, on a GPU torch tensors. Positions are int64. Squared distances are float32, or
float64 where X is, and where float32 cannot hold the squares. Every function raises ValueError or TypeError that names
the argument. Contracts, ties and numerics stand in csrc/kernels/*.hpp.
"""

from pyal.kernels.clustering import constrained_kmeans, kmeans, sup_scores
from pyal.kernels.covering import Carried, ball_cover, herding, k_center_greedy
from pyal.kernels.information import mixture_entropies
from pyal.kernels.least_squares import recursive_least_squares
from pyal.kernels.lookahead import ntk_lookahead, rank_one_gains
from pyal.kernels.matrices import checked_matrix, sqnorms
from pyal.kernels.neighbours import deduplicate, knn, purity_radius, typicality
from pyal.kernels.sampling import d2_sampling
from pyal.kernels.tangent import ntk, ntk_outputs, ntk_weights

__all__ = [
    "Carried", "ball_cover", "checked_matrix", "constrained_kmeans", "d2_sampling", "deduplicate", "herding",
    "k_center_greedy", "kmeans", "knn", "mixture_entropies", "ntk", "ntk_lookahead", "ntk_outputs", "ntk_weights",
    "purity_radius", "rank_one_gains", "recursive_least_squares", "sqnorms", "sup_scores", "typicality",
]  # fmt: skip
