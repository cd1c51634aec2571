"""Walks a graph of targets. Pure: it knows edges, not where they come from."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from control_plane.targets.service import TargetRef


@dataclass(frozen=True)
class Edge:
    """`downstream` runs after `upstream`."""

    upstream: TargetRef
    downstream: TargetRef


def find_path(edges: Iterable[Edge], start: TargetRef, goal: TargetRef) -> list[TargetRef] | None:
    """Returns a shortest way downstream from `start` to `goal`, both included.

    None where there is no way. A new edge from `goal` to `start` would close exactly this way to
    a circle.
    """
    downstream: dict[TargetRef, list[TargetRef]] = defaultdict(list)
    for edge in edges:
        downstream[edge.upstream].append(edge.downstream)
    came_from: dict[TargetRef, TargetRef | None] = {start: None}
    frontier = [start]
    while frontier and goal not in came_from:
        following: list[TargetRef] = []
        for node in frontier:
            for neighbour in downstream[node]:
                if neighbour not in came_from:
                    came_from[neighbour] = node
                    following.append(neighbour)
        frontier = following
    return _way_back(came_from, goal) if goal in came_from else None


def reachable(edges: Iterable[Edge], start: TargetRef) -> list[TargetRef]:
    """Returns everything downstream of `start`, in order of type and id."""
    neighbours: dict[TargetRef, set[TargetRef]] = defaultdict(set)
    for edge in edges:
        neighbours[edge.upstream].add(edge.downstream)
    found: set[TargetRef] = set()
    pending = [start]
    while pending:
        new = neighbours[pending.pop()] - found
        found |= new
        pending.extend(new)
    return sorted(found)


def reversed_edges(edges: Iterable[Edge]) -> list[Edge]:
    """Returns the edges the other way round."""
    return [Edge(edge.downstream, edge.upstream) for edge in edges]


def _way_back(came_from: dict[TargetRef, TargetRef | None], goal: TargetRef) -> list[TargetRef]:
    path = [goal]
    previous = came_from[goal]
    while previous is not None:
        path.append(previous)
        previous = came_from[previous]
    return path[::-1]
