"""The text of a recipe as YAML: what it says, and where it says it.

YAML allows much that nobody means in a recipe and that Python's reader takes in silence or fails on: a key twice (the
last counts), names that stand for themselves, lists that stand for billions of lists, numbers of thousands of digits.
"""

from __future__ import annotations

from typing import Any

import yaml

from pipeline.errors import UserError

DEEPEST = 50  # the deepest key of a recipe lies seven blocks down
MOST_BLOCKS = f"a recipe has no more than {DEEPEST} blocks in one another"
MOST_NODES = 100_000  # of keys and values, names (`*name`) counted as what they stand for


def load_yaml(text: str, name: str) -> tuple[Any, Any]:
    """(what a text says, its tree of nodes, which know their lines). Raises UserError. name: of the file."""
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        if tree is not None:
            _Checked(name).size(tree, 0)
        return yaml.safe_load(text), tree
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" line {mark.line + 1}" if mark else ""
        raise UserError(f"{name}{place} is not YAML: {getattr(error, 'problem', None) or error}.") from None
    except RecursionError:
        raise UserError(
            f"{name} is nested too deeply: a recipe has no more than {DEEPEST} blocks in one another."
        ) from None


class _Checked:
    """Goes once through each node of a tree."""

    def __init__(self, name: str):
        self.name = name
        self.sizes: dict[int, int | None] = {}  # None: this node is being gone through

    def size(self, node: yaml.Node, depth: int) -> int:
        """Nodes in a node, with itself. Raises UserError for what no recipe can mean."""
        known = self.sizes.get(id(node), 0)
        if known is None:
            raise self.wrong(node, "stands for itself: write it out")
        if known:
            return known
        self.sizes[id(node)] = None
        if depth > DEEPEST:
            raise self.wrong(node, f"is nested too deeply: {MOST_BLOCKS}")
        inner: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            self.refuse_twice(node)
            inner = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            inner = node.value
        else:
            self.refuse_unreadable(node)
        size = 1 + sum(self.size(part, depth + 1) for part in inner)
        if size > MOST_NODES:
            raise self.wrong(node, f"stands for over {MOST_NODES:,} values: no recipe is that long")
        self.sizes[id(node)] = size
        return size

    def refuse_twice(self, node: yaml.MappingNode) -> None:
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if (key.tag, key.value) in seen:
                raise self.wrong(
                    key,
                    f"has the key `{key.value[:60]}` again, of which only the last would count: leave out all but one",
                )
            seen.add((key.tag, key.value))

    def refuse_unreadable(self, node: yaml.Node) -> None:
        if node.tag == "tag:yaml.org,2002:merge":  # the key `<<`, which stands for no value
            return
        try:
            yaml.SafeLoader("").construct_object(node)
        except yaml.YAMLError:
            raise  # with a line of its own
        except (ValueError, AttributeError, OverflowError, TypeError, KeyError):  # a date that there is not, and so on
            said = str(node.value)
            short = said if len(said) <= 60 else f"{said[:60]}... ({len(said):,} characters)"
            raise self.wrong(
                node,
                f"has `{short}`, which is no number or date that can be: correct it, or put it in quotes if it is text",
            ) from None

    def wrong(self, node: yaml.Node, said: str) -> UserError:
        return UserError(f"{self.name} line {node.start_mark.line + 1} {said}.")
