"""Ways through the graph of targets."""

from control_plane.dependencies.graph import Edge, find_path, reachable, reversed_edges
from control_plane.targets.service import TargetRef


def node(name: str) -> TargetRef:
    return TargetRef("upload" if name.isupper() else "transformation", ord(name))


def edges(*pairs: str) -> list[Edge]:
    return [Edge(node(pair[0]), node(pair[1])) for pair in pairs]


class TestFindPath:
    def test_the_shortest_way(self):
        graph = edges("Ab", "bc", "cd", "Ad", "dX")
        assert find_path(graph, node("A"), node("X")) == [node("A"), node("d"), node("X")]

    def test_no_way(self):
        assert find_path(edges("Ab", "cb"), node("A"), node("c")) is None
        assert find_path([], node("A"), node("b")) is None

    def test_types_are_part_of_the_identity(self):
        graph = [Edge(TargetRef("upload", 1), TargetRef("transformation", 2))]
        assert find_path(graph, TargetRef("upload", 1), TargetRef("upload", 2)) is None

    def test_ends_in_a_graph_that_has_a_circle_already(self):
        assert find_path(edges("ab", "ba"), node("a"), node("z")) is None

    def test_a_long_chain(self):
        chain = [Edge(TargetRef("upload", n), TargetRef("upload", n + 1)) for n in range(5_000)]
        path = find_path(chain, TargetRef("upload", 0), TargetRef("upload", 5_000))
        assert path is not None
        assert len(path) == 5_001


class TestReachable:
    def test_both_directions(self):
        graph = edges("Ab", "bc", "Xc")
        assert reachable(graph, node("A")) == sorted([node("b"), node("c")])
        assert reachable(reversed_edges(graph), node("c")) == sorted(
            [node("A"), node("b"), node("X")]
        )
