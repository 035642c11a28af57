"""Mistakes in explanations."""

_METHODS, _RECORDING = "minimm/explain/methods.py", "minimm/explain/recording.py"
_RULES, _CLIP, _ALBEF = (f"tests/test_golden.py::test_{name}" for name in ("explain_rules", "explain_clip", "albef_gradcam"))
_RULE_10 = "normalised(R[s, s]).mT @ A @ normalised(R[q, q])"
_RULE_5 = "attention((single(gradients) * single(weights)).clamp(min=0), head)"

MISTAKES = [
    ("relevancy: heads averaged before the clamp", _METHODS, _RULE_5,
     "attention(single(gradients) * single(weights), head).clamp(min=0)", _RULES),
    ("relevancy: heads added up", _METHODS, "return single(weights).mean(-3) if", "return single(weights).sum(-3) if", _RULES),
    ("relevancy: one direction after the other", _METHODS, "    for step in steps:\n",
     "    for step in [{pair: A} for step in steps for pair, A in step.items()]:\n", _RULES),
    ("relevancy: transpose in rule 10 forgotten", _METHODS, _RULE_10, "normalised(R[s, s]) @ A @ normalised(R[q, q])", _RULES),
    ("relevancy: no normalisation", _METHODS, _RULE_10, "R[s, s].mT @ A @ R[q, q]", _RULES),
    ("relevancy: normalised with the identity in it", _METHODS, "gained = relevancy - identity", "gained = relevancy", _RULES),
    ("relevancy: columns normalised", _METHODS, "total = gained.sum(-1, keepdim=True)", "total = gained.sum(-2, keepdim=True)",
     _RULES),
    ("relevancy: rule 7 forgotten", _METHODS, "for s_, r in R if s_ == s]", "for s_, r in R if s_ == s == r]", _RULES),
    ("relevancy: rule 11 forgotten", _METHODS, "((s, s), A @ R[q, s])", "((s, s), 0 * R[s, s])", _RULES),
    ("rollout: multiplied in the wrong order", _METHODS, "step @ result", "result @ step", _RULES),
    ("rollout: no skip connections", _METHODS, "        step = step + torch.eye(step.shape[-1], dtype=step.dtype, device=step.device)\n", "",
     _RULES),
    ("rollout across: transpose forgotten", _METHODS, "rollout(own).mT @ across", "rollout(own) @ across", _RULES),
    ("Grad-CAM of heads: clamped before the mean", _METHODS, "keepdim=True) * single(weights)).mean(-3).clamp(min=0)",
     "keepdim=True) * single(weights)).clamp(min=0).mean(-3)", _RULES),
    ("Grad-CAM of ALBEF: gradient not clamped", _METHODS, _RULE_5, "attention(single(gradients) * single(weights), head)", _ALBEF),
    ("CLIP's words: the row of the start token", _METHODS, "row = relevancy[torch.arange(len(end), device=end.device), end]",
     "row = relevancy[:, 0]", _CLIP),
    ("CLIP's words: the end token among them", _METHODS, "(place < end[:, None])", "(place <= end[:, None])", _CLIP),
    ("recording: weights behind the mean of the heads", _RECORDING, "append(output if gradients",
     "append(output.mean(1, keepdim=True) if gradients", _ALBEF),
]
