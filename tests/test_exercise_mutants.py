"""Wrong functions made from each exercise's solution, one small change each: its check must refuse them.

`make test-slow` prints how many are refused, and those that are not. Some changes make no wrong function (`x[:, None]`
against `x[..., None]`): they are listed in `EQUIVALENT` with the reason, and do not count.

    .venv/bin/python -m pytest tests/test_exercise_mutants.py -m slow -k unit_length
"""

import ast
import copy
import difflib

import pytest
import torch

from minimm.exercises import _judge
from minimm.exercises._judge import judge
from minimm.exercises._registry import EXERCISES

WANTED = 0.95  # of the changes that make a function wrong

_SIGMA = "plan, sigma = (torch.ones_like(cost), cost.new_full((m,), {}))"
_HIDDEN = "return (hit & ~special.bool()).to({})"

#: {exercise: {what stands there after the change: why the function is as right as before}}
EQUIVALENT = {
    "rollout": {
        "step = layer.mean(dim=0) + torch.eye(len(result))": "0 and 1 are always exact",
        "result = torch.eye(weights.shape[-2], dtype=weights.dtype)": "who looks and who is looked at are the same tokens",
        "result = step / step.sum(dim=-1) @ result": "rows of attention sum to 1, with the identity to 2: one number for all",
        "result = step / step.sum(dim=1, keepdim=True) @ result": "the last axis of a matrix is its axis 1",
        "result = step / step.sum(dim=-1, keepdim=False) @ result": "rows sum to 2: one number for all",
    },
    "grad_cam_of_word": {"return word.clamp(min=0).mean(dim=(1, 0))": "a mean has no order"},
    "binding": {
        f"return 100 * (at_own > at_other).to({what}).mean(dim=0)": "all inputs have one dtype"
        for what in ("weights", "own.dtype", "other.dtype")
    },
    "box_iou": {
        "area, true_area = ((x[:, 2:] - x[:, :2]).prod(dim=1) for x in (truth, boxes))": "only their sum is used",
        "area, true_area = ((x[:, :2] - x[:, 2:]).prod(dim=1) for x in (boxes, truth))": "both sides change their sign",
    },
    "soft_accuracy": {"n = (answers == predicted[:, None]).sum(dim=1)": "whole numbers count as well"},
    "cached_gradient": {
        "return total": "what autograd.grad returns is detached",
        "weight = weight.requires_grad_()": "the input keeps its values",
        "total += torch.autograd.grad(torch.tanh(part @ weight), weight, upstream)[-1]": "there is one gradient",
    },
    "feature_gradient": {
        "slope = (logits.softmax(1) + logits.softmax(0) - 2 * torch.eye(b)) / (2 * b)": "0 and 1 are always exact",
    },
    "hardest_gradient": {
        "for dim in (0, 1):": "the two directions are added",
        "active = (margin - own + hardest.values > 0).to(scores)": "a tensor's dtype is taken",
        "active = (margin - own + hardest.values >= 0).to(scores.dtype)": "at the hinge itself there is no gradient",
        "where = (n, hardest.indices) if dim >= 1 else (hardest.indices, n)": "dim is 0 or 1",
    },
    "masked_hinges": {
        "same = index[:, None] == index": "broadcast to the same",
        "wrong_images = (margin + scores - own).clamp(min=0)": "broadcast to the same",
    },
    "order_violation": {"excess = (texts - images[:, None]).clamp(min=0)": "broadcast to the same"},
    "recall_at_k": {
        "return 100 * (better < k).double().mean()": "a 0-d tensor is asked for as well as a float",
    },
    "zero_shot_classifier": {
        "mean = unit.sum(dim=1)": "the sum points where the mean points, and its length goes",
        "return mean / mean.norm(dim=1, keepdim=True)": "the last of two axes is axis 1",
    },
    "end_of_text": {"return states[torch.arange(len(ids)), place]": "ids has as many rows as states"},
    "distillation_gradient": {"n, v = teacher_logits.shape": "both have one shape"},
    "embed_pair": {
        "first = class_token.expand(len(words), 1, -1)": "there are as many sentences as pictures",
    },
    "project_patches": {
        "return grid.flatten(2).transpose(2, 1)": "the same two axes",
        "grid = torch.nn.functional.conv2d(images, weight, bias, stride=weight.shape[-2])": "patches are square",
    },
    "transport_plan": {
        **dict.fromkeys(map(_SIGMA.format, ("1 + m", "1 * m", "1 ** m", "m / 1", "1", "m", "2 / m")),
                        "a factor of sigma divides delta, and the plan is their product"),
        "delta = 2 / (n * (q.T @ sigma))": "a factor of delta divides sigma, and the plan is their product",
    },
    "two_stage_cost": {
        "read_picture, read_text, first, second = milliseconds": "a tensor's numbers are as good as Python's",
        "candidates = (of_picture | of_text).sum()": "a 0-d tensor is as good as its number",
        "of_picture = nothing.scatter(1, similarity.topk(k).indices, True)": "topk looks along the last axis",
    },
    "enqueue": {
        "columns = pointer + torch.arange(len(keys)) - queue.shape[1]": "a negative index counts from the end",
    },
    "negative_weights": {"same = text_index[:, None] == image_index": "broadcast to the same"},
    "co_attention": {
        "to_regions = (text_q @ region_k.T * scale).softmax(dim=1)": "the last axis of a matrix is its axis 1",
        "to_text = (region_q @ text_k.T * scale).masked_fill(~text_mask, -torch.inf).softmax(dim=1)":
            "the last axis of a matrix is its axis 1",
        **{f"scale = {which}.shape[1] ** (-0.5)": "all six have one width"
           for which in ("text_k", "text_v", "region_q", "region_k", "region_v")},
    },
    "box_location": {
        "x1, y1, x2, y2 = (boxes / torch.cat([sizes, sizes], dim=1)[:, None]).unbind(-1)":
            "the last axis of a matrix is its axis 1",
    },
    "hide_overlapping": {
        "area = (boxes[:, :2] - boxes[:, 2:]).prod(dim=-1)": "width and height both change their sign",
        "area = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)": "the last axis of a matrix is its axis 1",
        "overlap = common / (area[:, None] + area - common)": "a row is spread out downwards in any case",
        "hidden = ((overlap > threshold) & selected).any(dim=1)": "a row is spread out downwards in any case",
    },
    "masked_region_loss": {
        "return (torch.xlogy(p, p) - p * log_q).sum() / max(1, len(p))": "the larger of two has no order",
        "log_q, p = (logits[selected].log_softmax(dim=1), classes[selected])":
            "the last axis of a matrix is its axis 1",
    },
    "diffuse": {"kept = torch.cumprod(1 - betas, dim=-1)[t - 1]": "the only axis is the last one"},
    "queue_loss": {
        "return torch.nn.functional.cross_entropy(logits, torch.arange(len(keys)))": "a key for every feature",
    },
    "rerank_top_k": {
        "best = first.topk(k).indices": "topk looks along the last axis",
        "nothing = torch.full_like(second, -100)": "two tables of one size",
    },
    "whole_words": {
        "numbers = (continues - 1).cumsum(dim=1)": "only whether numbers are equal counts",
        **dict.fromkeys(map(_HIDDEN.format, ("chosen", "continues.dtype", "special.dtype")), "one dtype for all"),
    },
}

ARITHMETIC, LOGIC = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow), (ast.BitAnd, ast.BitOr, ast.BitXor)
SYMMETRIC, SYMMETRIC_CALLS = (ast.Add, ast.Mult, *LOGIC), ("maximum", "minimum")
COMPARISONS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)
PARTNERS = ("sum mean", "max min", "amax amin", "maximum minimum", "argmax argmin", "any all", "floor ceil", "exp log",
            "sqrt square", "softmax log_softmax", "sigmoid logsigmoid", "triu tril", "zeros ones",
            "zeros_like ones_like", "cumsum cumprod", "sum prod", "logsumexp sum", "abs neg", "relu abs", "sin cos")
RENAMED = {}
for a, b in map(str.split, PARTNERS):
    RENAMED.setdefault(a, []).append(b)
    RENAMED.setdefault(b, []).append(a)


def without(parts, index):
    return parts[:index] + parts[index + 1:]


def swaps(parts):
    for n in range(len(parts) - 1):
        yield [*parts[:n], parts[n + 1], parts[n], *parts[n + 2:]]


def variants(node, parameters):
    """What may stand in the place of one node of the syntax tree."""

    def changed(**fields):
        new = copy.copy(node)
        for name, value in fields.items():
            setattr(new, name, value)
        return new

    match node:
        case ast.BinOp():
            others = LOGIC if isinstance(node.op, LOGIC) else ARITHMETIC
            yield from (changed(op=op()) for op in others if not isinstance(node.op, op))
            if not isinstance(node.op, SYMMETRIC):
                yield changed(left=node.right, right=node.left)
            yield from (node.left, node.right)
        case ast.AugAssign():
            yield from (changed(op=op()) for op in ARITHMETIC if not isinstance(node.op, op))
            yield ast.Assign([node.target], node.value)
        case ast.UnaryOp():
            yield node.operand
        case ast.Compare(ops=[op]):
            yield from (changed(ops=[other()]) for other in COMPARISONS if not isinstance(op, other))
        case ast.BoolOp():
            yield changed(op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
            yield from node.values
        case ast.Constant(value=bool()):
            yield ast.Constant(not node.value)
        case ast.Constant(value=int() | float()):
            yield from (ast.Constant(node.value + 1), ast.Constant(node.value - 1))
            if isinstance(node.value, float):
                yield from (ast.Constant(2 * node.value), ast.Constant(node.value / 2))
        case ast.Call():
            for n in range(len(node.args)):
                yield changed(args=without(node.args, n))
            for n, keyword in enumerate(node.keywords):
                yield changed(keywords=without(node.keywords, n))
                for other in RENAMED.get(keyword.arg, ()):  # clamp(min=0)
                    yield changed(keywords=[*without(node.keywords, n), ast.keyword(other, keyword.value)])
            if getattr(node.func, "attr", "") not in SYMMETRIC_CALLS:
                yield from (changed(args=args) for args in swaps(node.args))
            yield from node.args
            if isinstance(node.func, ast.Attribute):
                yield node.func.value
        case ast.Attribute():
            yield from (changed(attr=other) for other in RENAMED.get(node.attr, ()))
            yield node.value
        case ast.Subscript(ctx=ast.Load()):
            yield node.value
        case ast.Slice():
            yield from (changed(**{part: None}) for part in ("lower", "upper", "step") if getattr(node, part))
        case ast.Tuple(ctx=ast.Load()):
            yield from (changed(elts=parts) for parts in swaps(node.elts))
        case ast.IfExp():
            yield from (node.body, node.orelse, changed(body=node.orelse, orelse=node.body))
        case ast.If() | ast.While():
            yield changed(test=ast.UnaryOp(ast.Not(), node.test))
        case ast.Name(ctx=ast.Load()) if node.id in parameters:
            yield from (ast.Name(other, ast.Load()) for other in parameters if other != node.id)
        case ast.comprehension():
            yield from (changed(ifs=without(node.ifs, n)) for n in range(len(node.ifs)))
    if isinstance(getattr(node, "body", None), list) and len(node.body) > 1:  # a statement left out
        yield from (changed(body=without(node.body, n)) for n in range(len(node.body)))


def mutants(source):
    """{what stands there after the change: the changed source}"""
    tree = ast.parse(source)
    function = next(node for node in tree.body if isinstance(node, ast.FunctionDef))
    parameters = [argument.arg for argument in function.args.args]
    before = ast.unparse(tree)
    found = {}
    for node in ast.walk(function):
        for variant in variants(node, parameters):
            copies = {}
            new_tree = copy.deepcopy(tree, copies)
            target = copies[id(node)]
            for parent in ast.walk(new_tree):
                for name, value in ast.iter_fields(parent):
                    if value is target:
                        setattr(parent, name, copy.deepcopy(variant))
                    elif isinstance(value, list) and any(one is target for one in value):
                        setattr(parent, name, [copy.deepcopy(variant) if one is target else one for one in value])
            try:
                after = ast.unparse(ast.fix_missing_locations(new_tree))
                ast.parse(after)
            except (SyntaxError, ValueError):
                continue
            if after != before and after not in found.values():
                old, new = difference(before, after)
                found[f"{new or 'nothing'} (for {old})" if not new or new in found else new] = after
    return found


def difference(before, after):
    """The lines that were changed, as they were and as they are."""
    lines = [line for line in difflib.ndiff(before.splitlines(), after.splitlines()) if line[0] in "+-"]
    return ("; ".join(line[2:].strip() for line in lines if line[0] == sign) for sign in "-+")


def survives(name, source):
    space = {"torch": torch, "__name__": "notebook"}
    try:
        exec(source, space)
    except Exception:
        return False
    return judge(name, space.get(name)).status == "right"


def test_changes_of_every_kind():
    source = """def f(a, b):
    c = a[:, 1:].sum(dim=1, keepdim=True)
    if c > 0.5:
        c -= 1
    return torch.max(-a / c, b)"""
    changes = mutants(source)
    for change in (
        "c = a[:, 1:].mean(dim=1, keepdim=True)", "c = a[:, 1:].sum(dim=2, keepdim=True)",
        "c = a[:, 1:].sum(keepdim=True)", "c = a[:, 1:].sum(dim=1, keepdim=False)", "c = a[:, 1:].sum(dim=1)",
        "c = a[:, :].sum(dim=1, keepdim=True)", "c = b[:, 1:].sum(dim=1, keepdim=True)",
        "c = a[1:, :].sum(dim=1, keepdim=True)", "c = a.sum(dim=1, keepdim=True)",
        "nothing (for c = a[:, 1:].sum(dim=1, keepdim=True))", "if c >= 0.5:", "if c > 1.0:", "if not c > 0.5:",
        "c += 1", "c = 1", "return torch.max(a / c, b)", "return torch.max(-a * c, b)", "return torch.max(b, -a / c)",
        "return torch.max(c / -a, b)", "return torch.min(-a / c, b)", "return torch.max(-a / c)", "return -a / c",
    ):
        assert change in changes, change
    assert ast.unparse(ast.parse(source)) not in changes.values() and len(changes) == len(set(changes.values()))


def test_reasons_belong_to_exercises():
    assert set(EQUIVALENT) <= set(EXERCISES) and all(reason for of in EQUIVALENT.values() for reason in of.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", list(EXERCISES))
def test_mutants(name, capsys, monkeypatch):
    monkeypatch.setattr(_judge, "TIME_LIMIT", 20)  # what is refused is not to depend on the machine
    changes = mutants(EXERCISES[name].solution)
    alive = [change for change, source in changes.items() if survives(name, source)]
    known = EQUIVALENT.get(name, {})
    unknown = [change for change in alive if change not in known]
    wrong = len(changes) - len(alive) + len(unknown)
    score = 1 - len(unknown) / wrong
    with capsys.disabled():
        print(f"\n{name}: {wrong - len(unknown)} of {wrong} wrong functions refused ({100 * score:.1f} %); "
              f"{len(alive) - len(unknown)} changes that make none")
        for change in unknown:
            print(f"    not refused: {change}")
    unneeded = set(known) - set(alive)
    assert not unneeded, "these are refused, or no change makes them"
    assert score >= WANTED
