"""Jinja templates as JavaScript, so that a file without a server draws an item with the very template of the page.

Only what our templates use is translated; anything else raises `UntranslatedError` when the script is made, never in
the reader's browser. Values are escaped as Jinja does it; `static/report.js` has the functions that the script calls.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from jinja2 import Environment, nodes

METHODS = frozenset(dir(dict))
"""Names that Jinja takes for methods of a table before it looks for a key."""
FILTERS = (
    "replace",
    "length",
    "count",
    "lower",
    "upper",
    "trim",
    "join",
    "default",
    "d",
    "first",
    "last",
    "e",
    "escape",
    "tojson",
)
TESTS = ("defined", "undefined", "none", "odd", "even")
COMPARED = {"lt": "<", "lteq": "<=", "gt": ">", "gteq": ">="}
SUMS: dict[type[nodes.BinExpr], str] = {nodes.Add: "+", nodes.Sub: "-", nodes.Mul: "*", nodes.Div: "/", nodes.Mod: "%"}


class UntranslatedError(NotImplementedError):
    """A template uses something that is not translated; names it, with template and line."""


def translate(environment: Environment, *names: str) -> str:
    """A JavaScript expression: an object of functions from a context to HTML, one for each template and for those that
    they import or include."""
    done: dict[str, str] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in done:
            tree = _tree(environment, name)
            done[name] = _Translation(name).template(tree)
            waiting += _others(tree, name)
    return "{\n" + "".join(f"{json.dumps(name)}: {done[name]},\n" for name in sorted(done)) + "}"


def labels_used(environment: Environment, *names: str) -> list[str]:
    """The keys of labels (`w.key`) in templates and in those that they import or include."""
    seen: set[str] = set()
    waiting, keys = list(names), set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        tree = _tree(environment, name)
        waiting += _others(tree, name)
        keys |= {
            node.attr
            for node in tree.find_all(nodes.Getattr)
            if isinstance(node.node, nodes.Name) and node.node.name == "w"
        }
    return sorted(keys)


def _tree(environment: Environment, name: str) -> nodes.Template:
    assert environment.loader is not None
    return environment.parse(environment.loader.get_source(environment, name)[0], name)


def _others(tree: nodes.Template, name: str) -> Iterator[str]:
    for node in tree.find_all((nodes.FromImport, nodes.Import, nodes.Include)):
        assert isinstance(node, nodes.FromImport | nodes.Import | nodes.Include)
        yield _constant(node.template, name)


def _constant(node: nodes.Expr, name: str) -> str:
    if isinstance(node, nodes.Const) and isinstance(node.value, str):
        return node.value
    raise UntranslatedError(f"{name}:{node.lineno}: the name of a template has to be written out")


class _Translation:
    """One template. `self._locals` are the names of the frames around what is translated."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._locals: list[set[str]] = []
        self._modules: set[str] = set()
        """Names of whole templates that are imported."""

    def template(self, tree: nodes.Template) -> str:
        """A function from a context to `{html, macros}`."""
        return f"(ctx) => {{ const macros = {{}}; {self._frame(tree.body)} return {{ html: o, macros }}; }}"

    # --- statements -----------------------------------------------------------------------------------------

    def _frame(self, body: Sequence[nodes.Node], parameters: Sequence[str] = ()) -> str:
        """Statements that write into their own `o`."""
        assigned = sorted(set(_assigned(body)) - set(parameters))
        self._locals.append({*assigned, *parameters})
        declared = "".join(f"let {_local(name)}; " for name in assigned)
        statements = self._statements(body)
        self._locals.pop()
        return f'let o = ""; {declared}{statements}'

    def _statements(self, body: Sequence[nodes.Node]) -> str:
        return " ".join(self._statement(node) for node in body)

    def _statement(self, node: nodes.Node) -> str:
        match node:
            case nodes.Output():
                return "".join(f"o += {self._printed(part)};" for part in node.nodes)
            case nodes.If():
                return self._if(node)
            case nodes.For():
                return self._for(node)
            case nodes.Macro():
                return self._macro(node)
            case nodes.Assign(target=nodes.Name() as target):
                return f"{_local(target.name)} = {self._value(node.node)};"
            case nodes.Import():
                other = json.dumps(_constant(node.template, self._name))
                self._modules.add(node.target)
                return f"{_local(node.target)} = R.module({other});"
            case nodes.FromImport():
                other = json.dumps(_constant(node.template, self._name))
                pairs = [name if isinstance(name, tuple) else (name, name) for name in node.names]
                return "".join(f"{_local(new)} = R.module({other})[{json.dumps(name)}];" for name, new in pairs)
            case nodes.Include():
                other = json.dumps(_constant(node.template, self._name))
                return f"o += R.include({other}, {self._context()});"
            case nodes.Scope() | nodes.ScopedEvalContextModifier():
                return self._statements(node.body)
        raise self._unknown(node)

    def _context(self) -> str:
        """The context with the local names, for a template that is included."""
        names = sorted(set().union(*self._locals))
        return "{ ...ctx, " + ", ".join(f"{json.dumps(name)}: {_local(name)}" for name in names) + " }"

    def _if(self, node: nodes.If) -> str:
        text = f"if (R.truthy({self._value(node.test)})) {{ {self._statements(node.body)} }}"
        for other in node.elif_:
            text += f" else if (R.truthy({self._value(other.test)})) {{ {self._statements(other.body)} }}"
        return text + (f" else {{ {self._statements(node.else_)} }}" if node.else_ else "")

    def _for(self, node: nodes.For) -> str:
        if node.test is not None or node.recursive:
            raise self._unknown(node)
        if isinstance(node.target, nodes.Name):
            names, target = [node.target.name], _local(node.target.name)
        elif isinstance(node.target, nodes.Tuple) and all(isinstance(part, nodes.Name) for part in node.target.items):
            names = [part.name for part in node.target.items if isinstance(part, nodes.Name)]
            target = "[" + ", ".join(map(_local, names)) + "]"
        else:
            raise self._unknown(node)
        over = self._value(node.iter)
        inner = self._frame(node.body, [*names, "loop"])
        otherwise = f"() => {{ {self._frame(node.else_)} return o; }}" if node.else_ else "null"
        return f"o += R.each({over}, ({target}, {_local('loop')}) => {{ {inner} return o; }}, {otherwise});"

    def _macro(self, node: nodes.Macro) -> str:
        names = [argument.name for argument in node.args]
        defaults = [self._value(value) for value in node.defaults]
        optional = names[len(names) - len(defaults) :]
        given = ", ".join(f"{json.dumps(name)}: {value}" for name, value in zip(optional, defaults, strict=True))
        parameters = ", ".join(map(_local, names))
        return (
            f"{_local(node.name)} = macros[{json.dumps(node.name)}] = R.macro({json.dumps(names)}, {{ {given} }}, "
            f"({parameters}) => {{ {self._frame(node.body, names)} return o; }});"
        )

    # --- expressions ----------------------------------------------------------------------------------------

    def _printed(self, node: nodes.Node) -> str:
        if isinstance(node, nodes.TemplateData):
            return json.dumps(node.data)
        return f"R.text({self._value(node)})"

    def _value(self, node: nodes.Node) -> str:
        match node:
            case nodes.Const():
                return json.dumps(node.value)
            case nodes.Name():
                return self._named(node.name)
            case nodes.Getattr():
                labels = isinstance(node.node, nodes.Name) and node.node.name == "w"
                if node.attr in METHODS and not labels:
                    raise self._unknown(node)
                return f"R.get({self._value(node.node)}, {json.dumps(node.attr)})"
            case nodes.Getitem():
                return f"R.get({self._value(node.node)}, {self._value(node.arg)})"
            case nodes.Call():
                return self._call(node)
            case nodes.Filter():
                return self._filter(node)
            case nodes.Test():
                return self._test(node)
            case nodes.Compare():
                return self._compare(node)
            case nodes.Not():
                return f"!R.truthy({self._value(node.node)})"
            case nodes.And():
                return f"R.and({self._value(node.left)}, () => {self._value(node.right)})"
            case nodes.Or():
                return f"R.or({self._value(node.left)}, () => {self._value(node.right)})"
            case nodes.CondExpr():
                otherwise = "undefined" if node.expr2 is None else self._value(node.expr2)
                return f"(R.truthy({self._value(node.test)}) ? {self._value(node.expr1)} : {otherwise})"
            case nodes.Concat():
                return f"R.concat([{', '.join(map(self._value, node.nodes))}])"
            case nodes.List() | nodes.Tuple():
                return f"[{', '.join(map(self._value, node.items))}]"
            case nodes.Dict():
                pairs = (f"[{self._value(pair.key)}]: {self._value(pair.value)}" for pair in node.items)
                return "({ " + ", ".join(pairs) + " })"
            case nodes.Neg():
                return f"-({self._value(node.node)})"
            case nodes.BinExpr() if type(node) in SUMS:
                return f"({self._value(node.left)} {SUMS[type(node)]} {self._value(node.right)})"
        raise self._unknown(node)

    def _named(self, name: str) -> str:
        known = any(name in frame for frame in self._locals)
        return _local(name) if known else f"R.get(ctx, {json.dumps(name)})"

    def _call(self, node: nodes.Call) -> str:
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            raise self._unknown(node)
        called = node.node
        if isinstance(called, nodes.Getattr) and called.attr in ("items", "split") and not node.args:
            return f"R.{called.attr}({self._value(called.node)})"
        if isinstance(called, nodes.Getattr) and called.attr == "get" and 1 <= len(node.args) <= 2:
            return f"R.default(R.get({self._value(called.node)}, {self._value(node.args[0])}), " + (
                f"{self._value(node.args[1])})" if len(node.args) > 1 else "null)"
            )
        arguments = ", ".join(map(self._value, node.args))
        if isinstance(called, nodes.Getattr) and called.attr == "format" and not node.kwargs:
            return f"R.format({self._value(called.node)}, [{arguments}])"
        if isinstance(called, nodes.Getattr) and not (
            isinstance(called.node, nodes.Name) and called.node.name in self._modules
        ):
            # A method of Python's, which no macro has.
            raise self._unknown(called)
        named = ", ".join(f"{json.dumps(pair.key)}: {self._value(pair.value)}" for pair in node.kwargs)
        return f"R.call({self._value(called)}, [{arguments}], {{ {named} }})"

    def _filter(self, node: nodes.Filter) -> str:
        if node.name not in FILTERS or node.node is None or node.kwargs or node.dyn_args or node.dyn_kwargs:
            raise self._unknown(node)
        return f"R.filters.{node.name}({', '.join(map(self._value, (node.node, *node.args)))})"

    def _test(self, node: nodes.Test) -> str:
        if node.name not in TESTS or node.args:
            raise self._unknown(node)
        return f"R.tests.{node.name}({self._value(node.node)})"

    def _compare(self, node: nodes.Compare) -> str:
        if len(node.ops) != 1:
            raise self._unknown(node)
        left, operand = self._value(node.expr), node.ops[0]
        right = self._value(operand.expr)
        if operand.op in COMPARED:
            return f"({left} {COMPARED[operand.op]} {right})"
        match operand.op:
            case "eq":
                return f"R.same({left}, {right})"
            case "ne":
                return f"!R.same({left}, {right})"
            case "in":
                return f"R.holds({right}, {left})"
            case "notin":
                return f"!R.holds({right}, {left})"
        raise self._unknown(node)

    def _unknown(self, node: nodes.Node) -> UntranslatedError:
        what = f"{type(node).__name__} {getattr(node, 'name', getattr(node, 'attr', ''))}".strip()
        return UntranslatedError(f"{self._name}:{node.lineno}: {what} is not translated to JavaScript")


def _local(name: str) -> str:
    return f"l_{name}"


def _assigned(body: Sequence[nodes.Node]) -> Iterator[str]:
    """Names that statements of a frame set: what a loop or a macro sets stays in it."""
    for node in body:
        match node:
            case nodes.Assign(target=nodes.Name() as target):
                yield target.name
            case nodes.Macro():
                yield node.name
            case nodes.Import():
                yield node.target
            case nodes.FromImport():
                yield from (name[1] if isinstance(name, tuple) else name for name in node.names)
            case nodes.If():
                yield from _assigned([*node.body, *node.elif_, *node.else_])
            case nodes.Scope() | nodes.ScopedEvalContextModifier():
                yield from _assigned(node.body)
