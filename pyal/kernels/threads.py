"""How many CPUs there are, and how many of them a call may use."""

from __future__ import annotations

import functools

from pyal.arrays import n_jobs_checked

# The pool of threads has no more, and no kernel here gains from more.
_MOST_THREADS = 256


@functools.cache
def available_cpus() -> int:
    """The CPUs that this process may use."""
    from joblib import cpu_count  # comes with scikit-learn, and knows affinity masks and the quotas of containers

    return int(cpu_count())


def thread_count(n_jobs: int | None) -> int:
    """CPU threads for n_jobs: all that this process may use for None, counted down from that for negative numbers."""
    available = min(available_cpus(), _MOST_THREADS)
    wanted = n_jobs_checked(n_jobs)
    if wanted is None:
        return available
    return min(wanted, _MOST_THREADS) if wanted > 0 else max(1, available + 1 + wanted)
