"""What a label is worth: features of an instance, examples of what labelling it brings, a model, and a strategy."""

from pyal.surrogate.collecting import HEURISTICS, collect
from pyal.surrogate.evaluation import average_ranks, evaluate
from pyal.surrogate.examples import Examples, concatenated, load_examples
from pyal.surrogate.model import VARIANTS, SurrogateModel, load
from pyal.surrogate.table import COLUMNS, FeatureTable, feature_table
from pyal.surrogate.training import fit

__all__ = [
    "COLUMNS", "HEURISTICS", "VARIANTS", "Examples", "FeatureTable", "SurrogateModel", "average_ranks", "collect",
    "concatenated", "evaluate", "feature_table", "fit", "load", "load_examples",
]  # fmt: skip
