"""Adapters of peft with weights that matter, made for a model folder; and the same merged into it."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

TOKENS = range(255, 300)
"""Ids that are trained: the first words that the tokenizers of the tiny models have learned."""
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "lora": ("LORA", {"r": 4, "lora_alpha": 8}),
    "rslora": ("LORA", {"r": 4, "lora_alpha": 8, "use_rslora": True}),
    "dora": ("LORA", {"r": 4, "use_dora": True}),
    "all linear": ("LORA", {"r": 2, "target_modules": "all-linear"}),
    "ranks": ("LORA", {"r": 4, "rank_pattern": {"down_proj": 2}, "alpha_pattern": {"q_proj": 3}}),
    "whole layers": ("LORA", {"r": 4, "target_modules": ["v_proj"], "modules_to_save": ["q_proj", "lm_head"]}),
    "whole block": ("LORA", {"r": 4, "target_modules": ["v_proj"], "modules_to_save": ["mlp"]}),
    "whole norms": ("LORA", {"r": 4, "target_modules": ["v_proj"], "modules_to_save": ["input_layernorm", "norm"]}),
    "embedding": ("LORA", {"r": 4, "target_modules": ["q_proj", "embed_tokens"]}),
    "head": ("LORA", {"r": 4, "target_modules": ["q_proj", "lm_head"]}),
    "tokens": ("LORA", {"r": 4, "trainable_token_indices": [*TOKENS]}),
    "adalora": ("ADALORA", {"total_step": 10}),
    "ia3": ("IA3", {"feedforward_modules": ["down_proj"]}),
    "loha": ("LOHA", {"r": 4}),
    "lokr": ("LOKR", {"r": 4}),
    "oft": ("OFT", {"oft_block_size": 8}),
    "boft": ("BOFT", {"boft_block_size": 4}),
    "hra": ("HRA", {"r": 4}),
    "norms": ("LN_TUNING", {"target_modules": ["input_layernorm"]}),
    "vera": ("VERA", {"r": 4}),
    "trainable tokens": ("TRAINABLE_TOKENS", {"token_indices": [*TOKENS], "target_modules": None}),
    "fourierft": ("FOURIERFT", {"n_frequency": 20}),
    "randlora": ("RANDLORA", {"r": 4}),
    "miss": ("MISS", {"r": 4}),
    "shira": ("SHIRA", {"r": 4}),
    "road": ("ROAD", {}),
}
"""Name → type of peft and its options; without others, two projections are changed."""


def make_adapter(
    base: Path, folder: Path, kind: str = "lora", *, seed: int = 1, size: float = 0.1, merged: Path | None = None
) -> Path:
    """Write an adapter with random weights, and the merged model too if a folder is given for it.

    Args:
        base: a model folder.
        folder: where the adapter goes.
        kind: a key of `KINDS`.
        seed: of its weights.
        size: standard deviation of what is added to its first weights.
        merged: where the model goes into which peft has merged it, with the tokenizer of the base.
    """
    import torch
    from peft import PEFT_TYPE_TO_CONFIG_MAPPING, PeftType, get_peft_model
    from transformers import AutoModelForCausalLM

    type_, options = KINDS[kind]
    options = {"task_type": "CAUSAL_LM", "target_modules": ["q_proj", "down_proj"]} | options
    config = PEFT_TYPE_TO_CONFIG_MAPPING[PeftType(type_)](**{k: v for k, v in options.items() if v is not None})
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        model: Any = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data += size * torch.randn_like(parameter)
        model.save_pretrained(folder)
        if merged is not None:
            model.merge_and_unload().save_pretrained(merged)
            for file in base.iterdir():
                if file.name.startswith(("tokenizer", "special_tokens", "chat_template")):
                    shutil.copy(file, merged)
    return folder
