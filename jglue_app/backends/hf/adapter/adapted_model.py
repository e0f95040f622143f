"""A PEFT adapter in the modules of a model that shares its weights with another; see `shared_model`."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from jglue_app.backends.hf.adapter.adapter_files import AdapterFiles
from jglue_app.backends.hf.engine.linear import PackedLinear, keep_last_read
from jglue_app.backends.hf.memory import is_out_of_memory
from jglue_app.errors import JglueAppError, ModelError, first_line
from jglue_app.messages import Message

_SLOT = "default"
"""The name of the adapter within peft."""
_PREFIX = "base_model.model."
"""Before a module's name in the files of peft."""


def apply_adapter(model: Any, files: AdapterFiles, name: str) -> Any:
    """A model of transformers with an adapter in it.

    Args:
        model: whose modules are exchanged; its weights are left as they are.
        files: the adapter.
        name: of the model, for messages.

    Raises:
        ModelError: the adapter does not fit the model, or peft cannot apply it.
    """
    import peft

    try:
        # peft draws random numbers to fill what is overwritten here, and warns of what is checked here.
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]), keep_last_read():
            warnings.simplefilter("ignore")
            config = peft.PeftConfig.from_pretrained(str(files.folder))
            config.inference_mode = True
            _unpack(model, config.modules_to_save if hasattr(config, "modules_to_save") else None)
            adapted: Any = peft.PeftModel(model, config, adapter_name=_SLOT)
            # peft only looks for names and shapes in it.
            adapted.state_dict = functools.partial(_tensors, adapted)
            weights = load_file(files.weights)
            expected = peft.get_peft_model_state_dict(adapted, adapter_name=_SLOT, save_embedding_layers=False)
            weights = _checked(files.name, name, weights, expected, model)
            left: Any = peft.set_peft_model_state_dict(adapted, weights, adapter_name=_SLOT)
    except Exception as e:  # Of peft, for another architecture: of any kind.
        if isinstance(e, JglueAppError) or is_out_of_memory(e):
            raise
        raise ModelError(
            "The adapter {adapter} cannot be applied to {model} ({reason}). Name the model that it was made for, or "
            "merge it and name the merged folder as the model.",
            adapter=files.name,
            model=name,
            reason=first_line(e),
        ) from e
    if left.unexpected_keys:
        raise _misfit(files.name, name, Message("{key} has no place in the model", key=left.unexpected_keys[0]))
    adapted.eval()
    base = adapted.get_base_model()
    _unwrap(base)
    _reject_one_of_two(files.name, name, base)
    return base


def _unpack(model: Any, modules_to_save: Any) -> None:
    """Give linear layers that the adapter brings as a whole, alone or in a block, a weight that can be copied and
    replaced."""
    for path, module in list(model.named_modules()):
        if not isinstance(module, PackedLinear):
            continue
        parts = path.split(".")
        around = (".".join(parts[: count + 1]) for count in range(len(parts)))
        if any(place.endswith(name) for place in around for name in modules_to_save or ()):
            model.set_submodule(path, module.unpacked())


def _checked(
    adapter: str,
    name: str,
    stored: Mapping[str, torch.Tensor],
    expected: Mapping[str, torch.Tensor],
    model: Any,
) -> dict[str, torch.Tensor]:
    """The weights of an adapter, without copies of base weights; raises ModelError unless they are all it needs.

    peft leaves out what is missing or has no place, and writes weights of the base over those in memory.
    """
    for key in sorted(expected.keys() - stored.keys()):
        raise _misfit(adapter, name, Message("{key} is missing in its file", key=key))
    base_weights: Mapping[str, torch.Tensor] | None = None
    for key in sorted(stored.keys() - expected.keys()):
        base_weights = _tensors(model) if base_weights is None else base_weights
        base = base_weights.get(key.removeprefix(_PREFIX))
        if base is None:
            raise _misfit(adapter, name, Message("{key} has no place in the model", key=key))
        # Training stores the embedding with the adapter when it is among the layers that are changed, or has new rows.
        if base.shape != stored[key].shape or not torch.equal(base, stored[key].to(base)):
            raise ModelError(
                "The adapter {adapter} brings other base weights with it ({key}, {shape}), as training with added "
                "tokens does. Merge it into its base model and name the merged folder as the model.",
                adapter=adapter,
                key=key,
                shape="×".join(map(str, stored[key].shape)),
            )
    for key in sorted(expected):
        there, here = tuple(stored[key].shape), tuple(expected[key].shape)
        if there != here:
            sizes = ["×".join(map(str, shape)) for shape in (there, here)]
            reason = Message(
                "{key} is {stored} in its file and {expected} in the model", key=key, stored=sizes[0], expected=sizes[1]
            )
            raise _misfit(adapter, name, reason)
        if stored[key].is_floating_point() and not bool(torch.isfinite(stored[key]).all()):
            raise ModelError(
                "The weights of the adapter {adapter} are not finite ({key}): its training failed. Choose another "
                "checkpoint of it.",
                adapter=adapter,
                key=key,
            )
    return {key: stored[key] for key in expected}


def _tensors(model: Any) -> dict[str, torch.Tensor]:
    """Name → parameter or buffer as in `state_dict`, for which bitsandbytes would change 4-bit weights in memory."""
    tensors: dict[str, torch.Tensor] = dict(model.named_parameters(remove_duplicate=False))
    for path, module in model.named_modules(remove_duplicate=False):
        for name, buffer in module.named_buffers(prefix=path, recurse=False, remove_duplicate=False):
            # What can be worked out again is in no file.
            if name.rpartition(".")[2] not in module._non_persistent_buffers_set:
                tensors[name] = buffer
    return tensors


def _misfit(adapter: str, name: str, reason: Message) -> ModelError:
    return ModelError(
        "The adapter {adapter} does not fit the model {model} ({reason}). Name the model that it was made for, or "
        "fetch the adapter again.",
        adapter=adapter,
        model=name,
        reason=reason,
    )


def _unwrap(model: Any) -> None:
    """Put modules that the adapter brings as a whole in the place of those of the base, without peft's choice between
    the two."""
    from peft.utils import ModulesToSaveWrapper

    for path, module in list(model.named_modules()):
        if isinstance(module, ModulesToSaveWrapper):
            model.set_submodule(path, module.modules_to_save[_SLOT])


def _reject_one_of_two(adapter: str, name: str, model: Any) -> None:
    """Reject an adapter that changes the embedding and not the output layer, or the other way round, where these are
    one: merging changes both, and so it gives another model."""
    if not getattr(model.config.get_text_config(), "tie_word_embeddings", False):
        return
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    if head is None or (_is_plain(embedding) and _is_plain(head) and _same(embedding, head)):
        return
    if _are_trained_tokens(embedding) and _are_trained_tokens(head):
        return
    raise ModelError(
        "The adapter {adapter} changes the embedding or the output layer of {model}, which are one matrix there, so "
        "that merged and unmerged it gives two different models. Train it without these two layers, or merge it and "
        "name the merged folder as the model.",
        adapter=adapter,
        model=name,
    )


def _is_plain(module: nn.Module) -> bool:
    from peft.tuners.tuners_utils import BaseTunerLayer

    return not isinstance(module, BaseTunerLayer) and not _are_trained_tokens(module)


def _are_trained_tokens(module: nn.Module) -> bool:
    from peft.tuners.trainable_tokens import TrainableTokensLayer
    from peft.utils.other import TrainableTokensWrapper

    return isinstance(module, TrainableTokensWrapper | TrainableTokensLayer)


def _same(first: Any, second: Any) -> bool:
    """Whether two layers have the same weight."""
    return first.weight.data_ptr() == second.weight.data_ptr() or torch.equal(first.weight, second.weight)
