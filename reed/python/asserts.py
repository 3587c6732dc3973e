"""`assert found == expected` in a test: the failure shows both values.

assert L == R       left = L; right = R; assert left == right, f"{left!r} == {right!r}"
assert X            assert X, "X"
"""

from __future__ import annotations

import ast

_LEFT, _RIGHT = "@left", "@right"  # names that no test can have
_SIGNS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.In: "in",
    ast.NotIn: "not in",
    ast.Is: "is",
    ast.IsNot: "is not",
}


def explained(source: bytes, path: str) -> ast.Module:
    """Raises SyntaxError."""
    tree = _Asserts().visit(ast.parse(source, path))
    return ast.fix_missing_locations(tree)  # type: ignore[no-any-return]


class _Asserts(ast.NodeTransformer):
    def visit_Assert(self, node: ast.Assert) -> ast.AST | list[ast.AST]:
        if node.msg is not None:
            return node
        if not isinstance(node.test, ast.Compare) or len(node.test.ops) != 1:
            node.msg = ast.Constant(f"it does not hold: {ast.unparse(node.test)}")
            return node
        operator = node.test.ops[0]
        message = ast.JoinedStr([_repr(_LEFT), ast.Constant(f" {_SIGNS[type(operator)]} "), _repr(_RIGHT)])
        sides = [_set(_LEFT, node.test.left), _set(_RIGHT, node.test.comparators[0])]
        test = ast.Compare(_get(_LEFT), [operator], [_get(_RIGHT)])
        return [ast.copy_location(each, node) for each in (*sides, ast.Assert(test, message))]


def _get(name: str) -> ast.expr:
    return ast.Name(name, ast.Load())


def _set(name: str, value: ast.expr) -> ast.stmt:
    return ast.Assign([ast.Name(name, ast.Store())], value)


def _repr(name: str) -> ast.expr:
    return ast.FormattedValue(_get(name), ord("r"))
