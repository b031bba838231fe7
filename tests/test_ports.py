"""Ports for services of tests: free ones, and of one process each."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest
from tests.ports import FIRST, RUN, free_port


@pytest.mark.parametrize("number", range(3))
def test_ports_that_follow_are_free_and_of_the_same_process(
    monkeypatch: pytest.MonkeyPatch, number: int
):
    monkeypatch.setenv("PYTEST_XDIST_WORKER", f"gw{number}")
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", "3")

    first = free_port(2)

    with ExitStack() as stack:
        for port in range(first, first + 3):
            assert (port - FIRST) // RUN % 3 == number
            stack.enter_context(socket.socket()).bind(("127.0.0.1", port))


def test_a_port_whose_followers_are_taken_is_not_chosen(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tests.ports._is_free", lambda port: port % 2 == 1)

    assert free_port() % 2 == 1
    with pytest.raises(OSError, match="taken"):
        free_port(1)
