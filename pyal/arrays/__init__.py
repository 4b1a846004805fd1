"""What comes in: matrices of any array library, labels with holes, ids, arguments; what is wrong is said by name."""

from pyal.arrays.arguments import generator, n_jobs_checked, number, size, vector, weights_checked
from pyal.arrays.blocks import BLOCK_ELEMENTS, row_blocks
from pyal.arrays.fingerprints import fingerprint
from pyal.arrays.ids import distinct, positions_of
from pyal.arrays.labels import label_values, labeled_positions, plain_labels
from pyal.arrays.matrix import (
    Matrix,
    address,
    as_matrix,
    as_numpy,
    cast,
    empty,
    on_device,
    plain,
    shape_checked,
    widened,
)
from pyal.arrays.messages import first_few
from pyal.arrays.positions import as_positions

__all__ = [
    "BLOCK_ELEMENTS", "Matrix", "address", "as_matrix", "as_numpy", "as_positions", "cast", "distinct", "empty",
    "fingerprint", "first_few", "generator", "label_values", "labeled_positions", "n_jobs_checked", "number",
    "on_device", "plain", "plain_labels", "positions_of", "row_blocks", "shape_checked", "size", "vector",
    "weights_checked", "widened",
]  # fmt: skip
