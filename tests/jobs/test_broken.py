"""Bugs planted in jobs, workers and batches are found, each by the check that is named."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

import pytest

from tests import virtual
from tests.jobs import (
    test_batches,
    test_batches_by_chance,
    test_conservation,
    test_job,
    test_nesting,
    test_schedules,
    test_workers,
)
from tests.jobs.schedules import explore
from tests.subject import module

Check = Callable[[], object]


class Bug(NamedTuple):
    what: str
    file: str
    right: str
    wrong: str
    found_by: Check


def test(function: Callable[..., Any], *arguments: Any) -> Check:
    return lambda: virtual.run(function(*arguments))


test.__test__ = False  # type: ignore[attr-defined]


def every_order(name: str) -> Check:
    return lambda: explore(test_schedules.SCENARIOS[name])


def chance(end: str) -> Check:
    return lambda: test_conservation.test_nothing_is_lost(virtual.VirtualLoop, end, range(20))


def nests() -> object:
    return test_nesting.test_who_cancels_takes_it_back(virtual.VirtualLoop, range(600))


def batches() -> object:
    return test_batches_by_chance.test_each_item_is_acked_once_or_left(
        virtual.VirtualLoop, range(200)
    )


BUGS = [
    Bug(
        "leases of a batch are part used up, by chance",
        "jobs",
        "    if patience > 0:",
        "    if False:",
        batches,
    ),
    Bug(
        "a batch stays longer than it may",
        "jobs",
        "wait = max(min(end, beat) - _now(), 0)",
        "wait = max(beat - _now(), 0) if third < 60 else patience",
        batches,
    ),
    Bug(
        "the cancellation that tells of a loss is not taken back, whatever is around it",
        "jobs",
        "ours = task.uncancel() <= self._cancels and ",
        "ours = ",
        nests,
    ),
    Bug(
        "a loss hides a cancellation that comes by chance",
        "jobs",
        "ours = task.uncancel() <= self._cancels and isinstance(",
        "ours = task.uncancel() > -1 and isinstance(",
        nests,
    ),
    Bug(
        "the cancellation that tells of a loss is not taken back",
        "jobs",
        "ours = task.uncancel() <= self._cancels and ",
        "ours = ",
        every_order("lost lease against normal end"),
    ),
    Bug(
        "a loss hides a cancellation",
        "jobs",
        "ours = task.uncancel() <= self._cancels and isinstance(",
        "ours = task.uncancel() > -1 and isinstance(",
        test(test_job.test_a_cancellation_next_to_a_loss_is_a_cancellation, True),
    ),
    Bug(
        "a cancellation that was there before counts as another",
        "jobs",
        "self._cancels = task, task.cancelling()",
        "self._cancels = task, 0",
        test(test_job.test_a_loss_within_a_cancellation_that_was_there_before),
    ),
    Bug(
        "a loss that the body swallows is not told",
        "jobs",
        "if error is None or ours:",
        "if ours:",
        test(test_job.test_a_body_that_swallows_the_loss_is_told_when_it_ends),
    ),
    Bug(
        "a failed job keeps its lease",
        "jobs",
        "await self._queue.release(self.lease, delay=self.pause(error))",
        "pass",
        test(test_job.test_an_exception_releases_and_goes_on_as_it_is, None),
    ),
    Bug(
        "a cancelled job goes to the back",
        "jobs",
        "await self._queue.release(self.lease, requeue_front=True)\n        except Can",
        "await self._queue.release(self.lease)\n        except Can",
        test(test_job.test_a_cancellation_releases_to_the_front_at_once),
    ),
    Bug(
        "a failed job is acked",
        "jobs",
        "            if error is None:\n                await self._finish()",
        "            if True:\n                await self._finish()",
        test(test_job.test_an_exception_releases_and_goes_on_as_it_is, None),
    ),
    Bug(
        "the error of a release takes the place of the one that matters",
        "jobs",
        'error.add_note(f"Its item could not be released: {line(failure)}")',
        "raise failure",
        test(
            test_job.test_an_error_or_a_cancellation_stays_what_it_is_when_the_lease_has_ended,
            "expires",
            True,
        ),
    ),
    Bug(
        "a cancellation in the ack leaves the lease behind",
        "jobs",
        "        except BaseException as error:\n            await self._give_back(error)\n",
        "        except Exception as error:\n            await self._give_back(error)\n",
        every_order("cancellation in the ack"),
    ),
    Bug(
        "a cancellation in the release leaves the lease behind",
        "jobs",
        "await self._give_back(cancelled)  # to the front, now",
        "pass",
        every_order("cancellation in the release"),
    ),
    Bug(
        "what was settled early is settled again",
        "jobs",
        "        elif not self._settled:",
        "        else:",
        test(test_job.test_what_is_settled_early_is_left_alone, "release", None),
    ),
    Bug(
        "the timer goes on when the job is over",
        "jobs",
        "        self._disarm()\n        task, self._task",
        "        task, self._task",
        test(test_job.test_a_lease_is_kept_alive_by_one_timer_and_no_task),
    ),
    Bug(
        "the lease is looked at once, and not again",
        "jobs",
        "            raise\n        self._watch()\n",
        "            raise\n",
        test(test_job.test_a_lease_is_kept_alive_by_one_timer_and_no_task),
    ),
    Bug(
        "the lease is extended at the last moment",
        "jobs",
        "self._duration * 2 / 3",
        "self._duration / 100",
        test(test_job.test_a_lease_survives_a_loop_that_is_blocked_for_less_than_two_thirds_of_it),
    ),
    Bug(
        "a lease that was extended for longer is cut short",
        "jobs",
        "if _left(self._queue, self.lease) <= self._duration:",
        "if True:",
        test(test_job.test_a_lease_that_was_extended_for_longer_is_not_cut_short),
    ),
    Bug(
        "a bad release stops the beat",
        "jobs",
        "            self._watch()\n            raise",
        "            raise",
        test(test_job.test_a_release_with_bad_arguments_changes_nothing_and_the_lease_stays_alive),
    ),
    Bug(
        "the newer value is given up with the old one",
        "jobs",
        "if await self._took_a_newer_value():",
        "if False:",
        test(test_job.test_a_newer_value_is_not_given_up_with_the_old_one, "update"),
    ),
    Bug(
        "an old value comes back to life for a newer one elsewhere",
        "jobs",
        "return not self.superseded()  #",
        "return True  #",
        test(test_job.test_with_buffer_what_is_given_up_does_not_come_back),
    ),
    Bug(
        "an item is taken out before its dead letter has arrived",
        "jobs",
        "            await self._bury(self.key,",
        "            await self._queue.ack(self.lease)\n            await self._bury(self.key,",
        chance("shutdown"),
    ),
    Bug(
        "a cancelled batch keeps its leases",
        "jobs",
        "for _, _, lease in reversed(batch):",
        "for _, _, lease in ():",
        every_order("a batch that lingers"),
    ),
    Bug(
        "a cancelled batch comes back in the wrong order",
        "jobs",
        "for _, _, lease in reversed(batch):",
        "for _, _, lease in batch:",
        test(test_batches.test_cancelled_at_any_point_everything_is_back_in_front_in_order, 1),
    ),
    Bug(
        "leases run out while a batch lingers",
        "jobs",
        "            await _renew(queue, batch, timed=True)\n            beat",
        "            beat",
        test(test_batches.test_every_lease_is_whole_when_it_returns, 5),
    ),
    Bug(
        "leases of a batch are part used up",
        "jobs",
        "    if patience > 0:",
        "    if False:",
        test(test_batches.test_every_lease_is_whole_when_it_returns, 5),
    ),
    Bug(
        "a batch has values that were replaced while it lingered",
        "jobs",
        "await queue.refresh(lease), lease",
        "_, lease",
        test(test_batches.test_its_values_are_as_they_stand_when_it_returns, 30),
    ),
    Bug(
        "a lease that has run out is in the batch",
        "jobs",
        "        except InvalidLeaseError:\n            continue",
        "        except InvalidLeaseError:\n            kept.append((key, None, lease))",
        test(test_batches.test_a_batch_that_has_run_out_as_a_whole_is_begun_anew, None),
    ),
    Bug(
        "after an error nothing more is acked",
        "jobs",
        "                if first is None:\n                    first = error",
        "                if first is None:\n                    raise",
        test(test_batches.test_those_that_can_be_are_acked_and_the_first_error_tells_of_the_others),
    ),
    Bug(
        "an item is given up one attempt too late",
        "workers",
        "if job.attempt >= self.max_attempts:",
        "if job.attempt > self.max_attempts:",
        test(test_workers.test_the_last_attempt_that_fails_is_given_up_at_once, 3),
    ),
    Bug(
        "poison is run again and again",
        "workers",
        "if job.attempt <= self.max_attempts:",
        "if True:",
        chance("shutdown"),
    ),
    Bug(
        "a dead letter that fails is forgotten",
        "workers",
        "                    if job.settled:\n                        raise failed  #",
        "                    return  #",
        every_order("dead letter that fails"),
    ),
    Bug(
        "the last error is forgotten when a dead letter fails",
        "workers",
        "self.unburied[job.key] = error",
        "pass",
        every_order("dead letter that fails"),
    ),
    Bug(
        "a cancelled future in a handler ends its worker",
        "workers",
        "        if this_task().cancelling():\n            raise",
        "        raise",
        test(
            test_workers.test_a_handler_that_fails_stops_nobody,
            test_workers.awaits_what_is_cancelled,
            1,
        ),
    ),
    Bug(
        "a handler that cancels its task ends its worker",
        "workers",
        "                if self.stopping:\n                    raise",
        "                raise",
        test(test_workers.test_a_handler_that_fails_stops_nobody, test_workers.cancels_itself, 1),
    ),
    Bug(
        "a worker that was told to stop gets one more item",
        "workers",
        "        while not self.stopping:\n            try:",
        "        while True:\n            try:",
        test(
            test_workers.test_a_handler_that_swallows_the_cancellation_is_waited_for_and_gets_no_more
        ),
    ),
    Bug(
        "nobody waits for the workers",
        "workers",
        "while not all(worker.done() for worker in workers):",
        "while False:",
        test(
            test_workers.test_a_handler_that_swallows_the_cancellation_is_waited_for_and_gets_no_more
        ),
    ),
    Bug(
        "the others are not stopped",
        "workers",
        "            worker.cancel()\n",
        "            pass\n",
        test(test_workers.test_a_base_exception_stops_all_and_comes_out_as_it_is, "handler"),
    ),
    Bug(
        "what is stopped comes back in the wrong order",
        "workers",
        ", reverse=True):",
        "):",
        test(test_workers.test_to_cancel_it_gives_everything_back_in_order_and_at_once),
    ),
    Bug(
        "a handler that never waits keeps the loop to itself",
        "workers",
        "await sleep(0)  # a handler",
        "pass  # a handler",
        test(test_workers.test_a_handler_that_never_waits_leaves_the_others_their_turn),
    ),
    Bug(
        "nothing limits the time of a job",
        "workers",
        "async with timeout(self.timeout_per_job):",
        "async with timeout(None):",
        test(test_workers.test_a_handler_that_takes_too_long_has_failed),
    ),
]


@contextmanager
def planted(file: ModuleType, right: str, wrong: str) -> Iterator[None]:
    """Every function of the module is what it would be if its source were another."""
    source = inspect.getsource(file)
    assert source.count(right) == 1, f"{file.__name__} has {source.count(right)} times: {right}"
    broken: dict[str, Any] = {"__name__": file.__name__, "__package__": file.__package__}
    exec(compile(source.replace(right, wrong), str(file.__file__), "exec"), broken)
    kept = []
    for here, there in functions(vars(file), broken):
        kept.append((here, here.__code__))
        here.__code__ = there.__code__
    try:
        yield
    finally:
        for function, code in kept:
            function.__code__ = code


def functions(
    ours: dict[str, Any], theirs: dict[str, Any]
) -> Iterator[tuple[FunctionType, FunctionType]]:
    for name in ours.keys() & theirs.keys():
        mine, other = (getattr(names[name], "fget", names[name]) for names in (ours, theirs))
        if isinstance(mine, FunctionType) and isinstance(other, FunctionType):
            yield mine, other
        elif isinstance(mine, type) and mine.__module__ == ours.get("__name__"):
            yield from functions(dict(vars(mine)), dict(vars(other)))


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.what)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.timeout(20)
def test_a_planted_bug_is_found(bug: Bug) -> None:
    broken = planted(module(bug.file), bug.right, bug.wrong)
    with broken, pytest.raises(BaseException):  # noqa: B017, PT011 (however it shows)
        bug.found_by()
