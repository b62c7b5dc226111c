"""Requests over loopback are answered once each, whichever workers die."""

import pytest

from examples import serve_http

EXPECTED = sorted(f"JOB {n}" for n in range(serve_http.CLIENTS))


@pytest.mark.parametrize("seed", [1, 2])
async def test_no_request_is_lost_when_workers_die(seed: int) -> None:
    answers, deaths = await serve_http.serve(chance_of_death=0.2, seed=seed)
    assert sorted(answers) == EXPECTED
    assert deaths > 0, "nobody died: nothing was shown"


async def test_requests_are_answered_when_nobody_dies() -> None:
    answers, deaths = await serve_http.serve(chance_of_death=0, seed=0)
    assert (sorted(answers), deaths) == (EXPECTED, 0)
