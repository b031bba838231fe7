"""The simulation of a continent: what must hold whatever the costs and whatever goes wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from bench.simulate_continent import WAYS, Chance, Costs, main, simulated
from hypothesis import given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from pathlib import Path

CALM = Chance(failing=0.0, dying_per_hour=0.0, slow=0.0)
FREE = Costs((3.0, 5.0, 9.0), start_s=0.0, handed_s=0.0)
STORM = Chance(failing=0.05, dying_per_hour=5.0, slow=0.02, starts_per_s=100.0)
ways = st.sampled_from(sorted(WAYS))


@pytest.mark.parametrize("way", WAYS)
def test_one_worker_takes_the_sum_of_all_costs(way: str):
    made = simulated(way, 300, 1, FREE, CALM)

    assert made.makespan_s == pytest.approx(made.needed_s)
    assert made.worked_s == pytest.approx(made.needed_s)
    assert made.efficiency == pytest.approx(1.0)
    assert (made.attempts, made.twice, made.made) == (300, 0, 300)


@settings(deadline=None, max_examples=30)
@given(way=ways, count=st.integers(0, 400), workers=st.integers(1, 60), seed=st.integers(0, 99))
def test_no_block_is_lost_whatever_goes_wrong(way: str, count: int, workers: int, seed: int):
    made = simulated(way, count, workers, FREE, STORM, seed=seed)

    assert made.made + made.aside == count
    assert made.attempts >= made.made
    assert made.makespan_s * workers >= made.needed_s * (made.made == count) * (1 - 1e-9)


@settings(deadline=None, max_examples=20)
@given(way=ways, count=st.integers(1, 400), workers=st.integers(1, 60))
def test_undisturbed_workers_are_as_fast_as_lists_allow(way: str, count: int, workers: int):
    """Graham's bound for any order, with what is waited to see that nothing is left."""
    made = simulated(way, count, workers, FREE, Chance(0.0, 0.0, 0.0, starts_per_s=1e9))

    longest = max(FREE.block_s)
    waited = 0.0 if way == "Dask" else longest + 2 * 2.0
    assert made.makespan_s >= max(made.needed_s / workers, min(FREE.block_s)) - 1e-6
    assert made.makespan_s <= made.needed_s / workers + 4 * longest + waited


@pytest.mark.parametrize("way", WAYS)
def test_the_same_seed_gives_the_same_numbers(way: str):
    first, again = (simulated(way, 500, 20, Costs(), STORM, seed=4) for _ in range(2))
    other = simulated(way, 500, 20, Costs(), STORM, seed=5)

    assert first == again
    assert other != first


def test_a_process_that_hands_out_everything_is_what_limits_the_rate():
    """Blocks of a second and 10 ms for each to be handed out: no more than 100 at a time."""
    costs = Costs((1.0,), start_s=0.0, handed_s=0.01)
    chance = Chance(0.0, 0.0, 0.0, starts_per_s=1e9)

    few, many = (simulated("Dask", 4000, workers, costs, chance) for workers in (50, 1000))
    free = simulated("Slurm", 4000, 1000, costs, chance)

    assert few.makespan_s == pytest.approx(4000 / 50, rel=0.1)
    assert many.makespan_s == pytest.approx(4000 * 0.01, rel=0.1)
    assert many.busy_s == pytest.approx(many.makespan_s, rel=0.1)
    assert 2 * 4000 == few.requests <= many.requests
    assert free.requests == 0
    assert free.makespan_s < many.makespan_s / 2


def test_a_slow_block_is_given_to_somebody_else():
    """One in a hundred takes a thousand times as long; whoever is idle makes it instead."""
    chance = Chance(0.0, 0.0, slow=0.01, slower=1000.0, starts_per_s=1e9)

    made = simulated("Dask", 500, 50, FREE, chance)

    assert made.made == 500
    assert made.makespan_s < 1000.0


def test_the_page_says_what_was_simulated(tmp_path: Path):
    costs, out = tmp_path / "costs.json", tmp_path / "docs" / "continent.md"
    costs.write_text(json.dumps({"block_s": [1.0, 2.0], "start_s": 3.0, "handed_s": 0.001}))
    asked = ["--costs", str(costs), "--tiles", "40", "--quarters", "3", "--workers", "2", "5"]

    main([*asked, "--out", str(out)])
    text = out.read_text()
    main([*asked, "--out", str(out)])

    assert out.read_text() == text
    assert "120 units" in text
    assert "40 units" in text
    assert text.count("| Dask |") == text.count("| Slurm |") == 4
    assert (out.parent / "images" / "continent.svg").read_text().startswith("<?xml")
