"""What a label is worth: a regressor from features of an instance to what labelling it brings."""

from pyal.surrogate.evaluation import average_ranks, evaluate
from pyal.surrogate.examples import FEATURES, Examples, concatenated, load_examples
from pyal.surrogate.model import VARIANTS, SurrogateModel, load
from pyal.surrogate.training import fit

__all__ = [
    "FEATURES", "VARIANTS", "Examples", "SurrogateModel", "average_ranks", "concatenated", "evaluate", "fit", "load",
    "load_examples",
]  # fmt: skip
