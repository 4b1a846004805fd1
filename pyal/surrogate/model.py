"""A fitted surrogate: from features of an instance to what labelling it brings, and its one file."""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

import pyal
from pyal.arrays import vector
from pyal.surrogate.archives import foreign, in_json, read_archive, write_archive
from pyal.surrogate.examples import ranked_values, refuse_other_columns, values_checked

VARIANTS: dict[str, tuple[str, tuple[str, ...]]] = {  # name: (target, columns beside the base features)
    f"{short}{suffix}": (target, added)
    for short, target in (("acc", "gain_accuracy"), ("loss", "gain_loss"))
    for suffix, added in (
        ("", ()),
        ("_asn", ("step",)),
        ("_asnvalid", ("step", "validation_loss", "validation_accuracy")),
    )
}

_KIND, _FORMAT, _WROTE = "surrogate model", 1, "SurrogateModel.save"
# Keys of a domain by which gains and features are other ones.
_ONLY_THERE = ("columns_of_X", "head", "metric", "relative_to")

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SurrogateModel:
    """What `pyal.surrogate.fit` returns: trees, and all that is needed to use them as they were fitted.

    name: of the variant, a key of VARIANTS.
    columns: (F,) the features that `predict` takes, in this order.
    backend: "xgboost" or "sklearn".
    target: "gain_accuracy" or "gain_loss".
    ranked: whether base features are ranks among the candidates of one step.
    objective: "regression" predicts the target in its units, "ranking" a score that only orders the rows of a step.
    parameters: of the trees, and how many there are ("rounds").
    domain: what the examples were collected on.
    versions: of pyal, numpy and what fitted the trees.
    measured: how the examples were split, and the errors on each part, as `evaluate` names them.
    offset, scale: what the trees predict is the target minus offset, over scale.
    trees: an xgboost.Booster, or scikit-learn's estimator.
    """

    name: str
    columns: tuple[str, ...]
    backend: str
    target: str
    ranked: bool
    objective: str
    parameters: dict[str, Any]
    domain: dict[str, Any]
    versions: dict[str, str]
    measured: dict[str, Any]
    offset: float
    scale: float
    trees: Any = field(repr=False)

    def predict(self, values: Any, columns: Sequence[str], groups: Any = None) -> Float:
        """(m,) what a label of each row is predicted to bring, higher is better.

        values: (m, F) finite features. For a ranked model they are as they were measured; it ranks them itself.
        columns: (F,) their names, which must be those of the model in its order.
        groups: (m,) integers. A ranked model ranks the rows of one group among themselves. None: all are one group,
            the candidates of one step.

        Raises ValueError that names the first column that differs, or the column and row that are not finite.
        """
        refuse_other_columns(columns, self.columns, f"features of the surrogate {self.name}")
        rows = values_checked(values, self.columns)
        m = len(rows)
        group = np.zeros(m, np.int64) if groups is None else vector(groups, m, "groups", "iu", "int64")
        if m == 0:
            return np.empty(0)
        return self.offset + self.scale * predicted(
            self.trees, self.backend, ranked_values(rows, self.columns, group) if self.ranked else rows
        )

    def check(self, domain_now: dict[str, Any]) -> None:
        """ValueError where the model is known to have been fitted on another pool or head, or on gains of another kind.

        domain_now: what it is to be used on, as `Examples.domain`. A key that either lacks is not compared.
        """
        here, there = in_json(domain_now), in_json(self.domain)
        for key in _ONLY_THERE:
            if key in there and key in here and here[key] != there[key]:
                raise ValueError(
                    f"the surrogate {self.name} was fitted on examples with {key}={there[key]!r}, and here it is "
                    f"{here[key]!r}: fit one on examples that were collected as it is to be used"
                )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes one file with all of it, whole or not at all; a file that is there is replaced.

        Trees of xgboost are kept in xgboost's own format. Those of scikit-learn have none, and are kept as a pickle.
        """
        if self.backend == "xgboost":
            content = bytes(self.trees.save_raw("ubj"))
        else:
            content = pickle.dumps(self.trees, protocol=5)
        said = {name: getattr(self, name) for name in _SAID}
        write_archive(path, _KIND, _FORMAT, said, {"trees": np.frombuffer(content, np.uint8)})


_SAID = tuple(entry.name for entry in fields(SurrogateModel) if entry.name != "trees")


def load(path: str | os.PathLike[str], trusted: bool = False) -> SurrogateModel:
    """The model that `SurrogateModel.save` wrote, which predicts the same to the last bit.

    path: the file.
    trusted: whether a model of scikit-learn may be loaded. It is a pickle, which can run any code when it is loaded.
        Models of xgboost are data, and need no trust.

    Raises ValueError for a file that is another, damaged, of a newer format or not trusted, and ImportError where the
    model is of xgboost and that is not installed.
    """
    said, arrays = read_archive(path, _KIND, _FORMAT, _WROTE)
    if said.get("backend") == "sklearn" and not trusted:
        raise ValueError(
            f"{os.fspath(path)} holds a model of scikit-learn as a pickle, which can run any code when it is loaded; "
            "where you know who wrote the file, pass what pyal.surrogate.load(path, trusted=True) returns, or fit anew "
            "with backend='xgboost', which needs none"
        )
    try:
        known = {name: said[name] for name in _SAID}
        trees = _loaded_trees(arrays["trees"].tobytes(), said["backend"])
        return SurrogateModel(**{**known, "columns": tuple(said["columns"])}, trees=trees)
    except ImportError:
        raise
    except Exception as error:  # of xgboost and of pickles, whichever the bytes lead to
        why = str(error).splitlines() or [type(error).__name__]
        raise foreign(path, _WROTE, f"it is damaged ({why[0]})") from None


def versions_of(backend: str) -> dict[str, str]:
    """Of pyal, numpy and the backend."""
    if backend == "xgboost":
        found = {"xgboost": xgboost().__version__}
    else:
        import sklearn

        found = {"scikit-learn": sklearn.__version__}
    return {"pyal": pyal.__version__, "numpy": np.__version__, **found}


def predicted(trees: Any, backend: str, values: Float) -> Float:
    """(m,) float64 of what the trees predict, m > 0."""
    if backend == "xgboost":
        return np.asarray(trees.predict(xgboost().DMatrix(values)), np.float64)
    return np.asarray(trees.predict(values), np.float64)


def xgboost() -> Any:
    """The module, imported when a model first needs it; ImportError that says how to install it."""
    try:
        import xgboost
    except (ImportError, OSError, ValueError) as error:  # the last two where its library does not load
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise ImportError(f"this needs xgboost, which pip install 'pyal[surrogate]' brings ({why})") from None
    return xgboost


def _loaded_trees(content: bytes, backend: str) -> Any:
    if backend == "sklearn":
        return pickle.loads(content)
    if backend != "xgboost":
        raise ValueError(f"backend {backend!r}")
    trees = xgboost().Booster()
    trees.load_model(bytearray(content))
    return trees
