"""The bar of a long kernel on a terminal."""

from __future__ import annotations

import time
from typing import Any


class Progress:
    """A tqdm bar on a terminal, for one kernel or a series of them, once it has run for a second."""

    def __init__(self, title: str, kernels: int = 1) -> None:
        self.title, self.begun = title, time.monotonic()
        self.kernels, self.finished = kernels, 0
        self.bar: Any = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def __call__(self, done: float) -> None:
        """What a kernel calls about every 50 ms: the share of it that is done."""
        percent = 100 * min(1.0, (self.finished + done) / self.kernels)
        if self.bar is None and time.monotonic() - self.begun > 1:
            from tqdm import tqdm

            self.bar = tqdm(
                desc=f"pyal {self.title}",
                total=100,
                initial=percent,
                unit="%",
                leave=False,
                bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}",
            )
        if self.bar is not None:
            self.bar.update(percent - self.bar.n)
