"""Where each key and each item of a TOML text stands: the line that an editor shows.

`tomllib` says what a text means but not where it says so; tree-sitter, which colours the text in editors, keeps the
places.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # loaded where a place is asked for: a book in which nothing is wrong asks for none
    from tree_sitter import Node

Path = tuple[object, ...]
"""The keys and indexes that lead to a value, such as `("states", "PA", "rules", 0, "since")`."""


class Places:
    """The places in a text that is TOML: `lines`, counted from 1, and `numbers`, whole ones, as they are written."""

    def __init__(self, text: str) -> None:
        self.lines: dict[Path, int] = {}
        self.numbers: dict[Path, str] = {}
        self._latest: dict[Path, int] = {}  # the index of each array of tables' latest item
        import tree_sitter_toml
        from tree_sitter import Language, Parser

        self._note(Parser(Language(tree_sitter_toml.language())).parse(text.encode()).root_node, ())

    def line(self, path: Path) -> int | None:
        """Give the line of a value, or of the nearest one around it; None where nothing around it stands in the text.

        >>> places = Places("[states.PA]")
        >>> places.line(("states", "PA", "name")), places.line(("default",))
        (1, None)
        """
        return next((self.lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self.lines), None)

    def _note(self, node: Node, path: Path) -> None:
        """Note the places of what stands inside a node, whose value `path` leads to."""
        inside = [child for child in node.named_children if child.type != "comment"]
        match node.type:
            case "table":
                path = self._table(_keys(inside.pop(0)))
                self._place(path, node)
            case "table_array_element":
                path = self._item(_keys(inside.pop(0)))
                self._place(path, node)
            case "pair":
                path = (*path, *_keys(inside.pop(0)))
                self._place(path, node)
            case "array":
                for index, item in enumerate(inside):
                    self._place((*path, index), item)
                    self._note(item, (*path, index))
                return
            case "integer":
                self.numbers[path] = _text(node)
            case _:  # the document, a table in braces, or a value of no interest
                pass
        for child in inside:
            self._note(child, path)

    def _table(self, header: Path) -> Path:
        """Give the path that `[header]` leads to: through the latest item of each array of tables on the way."""
        path: Path = ()
        for key in header:
            path = (*path, key)
            if path in self._latest:
                path = (*path, self._latest[path])
        return path

    def _item(self, header: Path) -> Path:
        """Give the path of the item that `[[header]]` begins."""
        array = (*self._table(header[:-1]), header[-1])
        self._latest[array] = self._latest.get(array, -1) + 1
        return (*array, self._latest[array])

    def _place(self, path: Path, node: Node) -> None:
        """Place a value, and whatever it is the first to bring about around it."""
        for end in range(1, len(path) + 1):
            self.lines.setdefault(path[:end], node.start_point.row + 1)


def _keys(node: Node) -> Path:
    """Give the keys of a header or a pair, dotted or not."""
    if node.type == "dotted_key":
        return tuple(key for child in node.named_children for key in _keys(child))
    return tuple(tomllib.loads(f"{_text(node)} = 0"))  # which knows quotes and escapes


def _text(node: Node) -> str:
    return (node.text or b"").decode()
