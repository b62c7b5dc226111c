"""Of the mutants that cosmic-ray has found, as many as a night has room for.

    python tests/mutation/sample.py SESSION [--keep NUMBER] [--seed SEED]

The rest are marked as skipped, as by the other filters of cosmic-ray. Which are kept is drawn by
the seed, which is printed. Changes to `check_invariants` and its parts are never kept: an invariant
that asserts less, no test can notice.
"""

from __future__ import annotations

import random
from argparse import ArgumentParser, Namespace

from cosmic_ray.tools.filters.filter_app import FilterApp
from cosmic_ray.work_db import WorkDB
from cosmic_ray.work_item import WorkerOutcome, WorkItem, WorkResult


class Sample(FilterApp):  # type: ignore[misc]  # it comes without types
    def add_args(self, parser: ArgumentParser) -> None:
        parser.add_argument("--keep", type=int, default=800)
        parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))

    def filter(self, work_db: WorkDB, args: Namespace) -> None:
        pending = [item for item in work_db.pending_work_items if not asserts(item)]
        kept = random.Random(args.seed).sample(pending, min(args.keep, len(pending)))
        jobs = {item.job_id for item in kept}
        for item in work_db.pending_work_items:
            if item.job_id not in jobs:
                skipped = WorkResult(worker_outcome=WorkerOutcome.SKIPPED, output="not drawn")
                work_db.set_result(item.job_id, skipped)
        print(f"seed {args.seed}: {len(kept):,} of {len(pending):,} mutants")


def asserts(item: WorkItem) -> bool:
    """Is it in what says whether the queue is in order?"""
    names = [mutation.definition_name or "" for mutation in item.mutations]
    return any("check" in name for name in names)


if __name__ == "__main__":
    Sample().main()
