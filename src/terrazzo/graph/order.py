"""Topological order and cycles, without recursion and in linear time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


def topological(
    needs: Mapping[str, Sequence[str]],
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Order nodes so that each comes after those it needs.

    Args:
        needs: ids that each node needs; ids that are no key are ignored.

    Returns:
        The order (as given, where nothing speaks against it), and the cycles: at least one
        from every knot of nodes that need each other, no node in two of them. In a cycle each
        node needs the next, and the last needs the first. The order is of use only without any.
    """
    order: list[str] = []
    cycles: list[tuple[str, ...]] = []
    seen: set[str] = set()
    spent: set[str] = set()
    for root in needs:
        if root in seen:
            continue
        seen.add(root)
        path: dict[str, Iterator[str]] = {root: iter(needs[root])}
        trail = [root]
        while trail:
            node = trail[-1]
            for need in path[node]:
                if need in path:
                    cycles.extend(_close(trail, need, spent))
                elif need in needs and need not in seen:
                    seen.add(need)
                    path[need] = iter(needs[need])
                    trail.append(need)
                    break
            else:
                order.append(node)
                del path[node]
                trail.pop()
    position = {node: index for index, node in enumerate(needs)}
    return tuple(order), tuple(_from_first(cycle, position) for cycle in cycles)


def _close(trail: Sequence[str], start: str, spent: set[str]) -> list[tuple[str, ...]]:
    """Return the cycle from `start` to the end of the trail unless part of it is spent.

    What was walked counts as spent afterwards, so that all walks together stay linear.
    """
    cycle: list[str] = []
    for node in reversed(trail):
        if node in spent:
            spent.update(cycle)
            return []
        cycle.append(node)
        if node == start:
            break
    spent.update(cycle)
    return [tuple(reversed(cycle))]


def _from_first(cycle: tuple[str, ...], position: Mapping[str, int]) -> tuple[str, ...]:
    """Turn a cycle so that it begins with the node that the document has first."""
    first = min(range(len(cycle)), key=lambda index: position[cycle[index]])
    return cycle[first:] + cycle[:first]
